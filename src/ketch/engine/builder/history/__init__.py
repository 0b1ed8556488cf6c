"""Builds that were: their records and files."""
