"""A small typed client of the Engine API."""
