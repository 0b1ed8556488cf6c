"""Container logs: writing, rotation, reading, following."""
