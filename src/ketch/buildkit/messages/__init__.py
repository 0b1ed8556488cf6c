"""The messages of BuildKit's services, field by field."""
