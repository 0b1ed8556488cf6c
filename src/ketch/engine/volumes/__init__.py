"""Volumes and where they are mounted."""
