"""Registries: checking credentials, looking at remote images."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ketch.api import responses
from ketch.api.credentials import filled
from ketch.api.resources.image_transfer import of_auth
from ketch.api.schema.auth import AuthConfig
from ketch.errors import InvalidParameter, Unsupported

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(
    rf"(?:https?://)?(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]{{2,45}}\])(?::\d{{1,5}})?(?:/[\w./-]*)?",
    re.ASCII,
)
_LONGEST_ADDRESS = 300


async def auth(call: Call) -> StreamResponse:
    """POST /auth"""
    body = filled(await call.json(AuthConfig))
    address = _address(body.serveraddress or "")
    token = await call.engine.images.log_in(address, of_auth(body))
    return responses.json({"Status": "Login Succeeded", "IdentityToken": token})


def _address(text: str) -> str:
    if text and (len(text) > _LONGEST_ADDRESS or _ADDRESS.fullmatch(text) is None):
        raise InvalidParameter(f"invalid server address {text[:200]!r}: it is host[:port] or a URL")
    return text


async def inspect(call: Call) -> StreamResponse:
    """GET /distribution/{name}/json"""
    raise Unsupported(
        f"looking at {call.params['name']!r} in its registry is not supported by ketch: pull it"
    )


async def search(call: Call) -> StreamResponse:
    """GET /images/search"""
    raise Unsupported("searching registries is not supported by ketch")
