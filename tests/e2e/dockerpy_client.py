"""What tests with docker-py share, beside the fixture ``api``."""

from __future__ import annotations

import docker


def started(api: docker.APIClient, name: str, command: str = "sleep 600", **options: object) -> str:
    """Like ``docker run -d``; the ID."""
    identity = str(api.create_container("busybox", command, name=name, **options)["Id"])
    api.start(identity)
    return identity
