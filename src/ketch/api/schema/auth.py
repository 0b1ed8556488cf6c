"""Credentials of registries, in bodies and in headers."""

from __future__ import annotations

from ketch.api.schema import Body


class AuthConfig(Body):
    """``AuthConfig``; ``auth`` is base64 of ``user:password``."""

    username: str | None = None
    password: str | None = None
    auth: str | None = None
    email: str | None = None
    serveraddress: str | None = None
    identitytoken: str | None = None
    registrytoken: str | None = None
