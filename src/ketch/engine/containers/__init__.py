"""Containers from create to remove, what runs in them, and what is asked of them."""
