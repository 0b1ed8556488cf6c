"""Registries: checking credentials, looking at remote images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.api import responses
from ketch.api.credentials import filled
from ketch.api.resources.image_transfer import of_auth
from ketch.api.schema.auth import AuthConfig
from ketch.errors import Unsupported

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call


async def auth(call: Call) -> StreamResponse:
    """POST /auth"""
    body = filled(await call.json(AuthConfig))
    token = await call.engine.images.log_in(body.serveraddress or "", of_auth(body))
    return responses.json({"Status": "Login Succeeded", "IdentityToken": token})


async def inspect(call: Call) -> StreamResponse:
    """GET /distribution/{name}/json"""
    raise Unsupported(
        f"looking at {call.params['name']!r} in its registry is not supported by ketch: pull it"
    )


async def search(call: Call) -> StreamResponse:
    """GET /images/search"""
    raise Unsupported("searching registries is not supported by ketch")
