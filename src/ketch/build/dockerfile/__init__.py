"""The language of Dockerfiles: from bytes to stages, variables, the stages that a target needs."""
