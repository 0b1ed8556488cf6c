"""The builder: Dockerfile front end, plan, cache, executor protocol."""
