"""The content-addressed blob store."""
