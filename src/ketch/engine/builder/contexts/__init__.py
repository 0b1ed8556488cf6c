"""Where a build's files come from: clients, repositories, URLs, layouts."""
