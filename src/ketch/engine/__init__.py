"""The domain: containers, execs, images, volumes, networks, events."""
