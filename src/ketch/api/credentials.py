"""Credentials that clients send in headers: base64 of JSON, in either alphabet."""

from __future__ import annotations

import base64
import binascii

import msgspec

from ketch.api.schema.auth import AuthConfig
from ketch.errors import InvalidParameter

_LIMIT = 64 * 1024
_HUB = frozenset({"", "docker.io", "index.docker.io", "registry-1.docker.io"})


def registry_auth(header: str) -> AuthConfig | None:
    """``X-Registry-Auth``; None when it is absent or says nothing. Raises ``InvalidParameter``."""
    data = _decoded(header, "X-Registry-Auth")
    if not data or data in (b"null", b"{}"):
        return None
    try:
        return filled(msgspec.json.decode(data, type=AuthConfig))
    except (msgspec.DecodeError, UnicodeError):
        raise InvalidParameter("invalid X-Registry-Auth header: it is no JSON object") from None


def build_credentials(header: str) -> dict[str, tuple[str, str]]:
    """``X-Registry-Config``: registry host → user and password (``docker.io`` for the Hub)."""
    data = _decoded(header, "X-Registry-Config")
    if not data:
        return {}
    try:
        configs = msgspec.json.decode(data, type=dict[str, AuthConfig] | None) or {}
    except (msgspec.DecodeError, UnicodeError):
        raise InvalidParameter("invalid X-Registry-Config header: it is no JSON object") from None
    return {host(name): user_and_password(filled(auth)) for name, auth in configs.items()}


def host(address: str) -> str:
    """The host of a server address, which may be a URL as in old configuration files."""
    name = address.partition("://")[2] or address
    name = name.partition("/")[0]
    return "docker.io" if name in _HUB else name


def user_and_password(auth: AuthConfig) -> tuple[str, str]:
    """Both empty when the client has none."""
    return auth.username or "", auth.password or ""


def filled(auth: AuthConfig) -> AuthConfig:
    """With user and password taken from ``auth`` when they stand there."""
    if not auth.auth or auth.username:
        return auth
    user, _, password = _decoded(auth.auth, "auth").decode(errors="replace").partition(":")
    return msgspec.structs.replace(auth, username=user, password=password.rstrip("\0"))


def _decoded(text: str, name: str) -> bytes:
    if len(text) > _LIMIT:
        raise InvalidParameter(f"the header {name} is longer than {_LIMIT} bytes")
    text = text.strip().rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidParameter(f"invalid {name}: it is not base64") from None
