"""Registries: checking credentials, looking at remote images."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ketch.api import responses
from ketch.api.convert_platform import platform_json
from ketch.api.credentials import filled
from ketch.api.filters import keys
from ketch.api.resources.image_transfer import credentials, of_auth
from ketch.api.schema.auth import AuthConfig
from ketch.errors import Forbidden, InvalidParameter, Unauthorized

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(
    rf"(?:https?://)?(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]{{2,45}}\])(?::\d{{1,5}})?(?:/[\w./-]*)?",
    re.ASCII,
)
_LONGEST_ADDRESS = 300
_SEARCH_FILTERS = keys("is-official is-automated stars")


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
    image = await call.engine.images.describe_remote(call.params["name"], credentials(call))
    descriptor = {"mediaType": image.media_type, "digest": image.digest, "size": image.size}
    platforms = [platform_json(platform) for platform in image.platforms]
    return responses.json({"Descriptor": descriptor, "Platforms": platforms})


async def search(call: Call) -> StreamResponse:
    """GET /images/search"""
    limit = call.integer("limit")
    filters = call.filters(_SEARCH_FILTERS)
    try:
        found = await call.engine.images.search(
            call.text("term"), limit, filters, credentials(call)
        )
    except Unauthorized as error:
        raise Forbidden(str(error)) from None  # at 401 the docker command line asks for a password
    return responses.json(
        [
            {
                "star_count": item.star_count,
                "is_official": item.is_official,
                "name": item.name,
                "is_automated": False,
                "description": item.description or "",
            }
            for item in found
        ]
    )
