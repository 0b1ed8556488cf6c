"""Checks of a Dockerfile: what works but should be written otherwise."""
