"""Durable records: SQLite and leases."""
