"""What a client asks of a build, lends to it, and is refused."""
