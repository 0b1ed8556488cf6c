"""Builds that were, as buildx asks for them."""
