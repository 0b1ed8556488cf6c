"""Answers: JSON, text, empty, and streams whose head is flushed at once."""

from __future__ import annotations

import json as stdlib_json
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp.http_writer import HttpVersion11
from aiohttp.web_response import Response, StreamResponse

from ketch import __version__
from ketch.api.call import Call
from ketch.api.errors import status_of
from ketch.api.versions import MAXIMUM, text
from ketch.errors import in_words

SERVER = f"Docker/ketch-{__version__} (linux)"
"""Clients find the operating system in this header by the pattern ``Docker/… (linux)``."""

BARE_HEADERS = {"Server": SERVER}
HEADERS = {
    **BARE_HEADERS,
    "Api-Version": text(MAXIMUM),
    "Docker-Experimental": "false",
    "Ostype": "linux",
}

_encoder = msgspec.json.Encoder()

JSON = "application/json"
PLAIN = "text/plain; charset=utf-8"


def encode(value: Any) -> bytes:
    """One JSON document on a line of its own, as Docker writes them."""
    try:
        return _encoder.encode(value) + b"\n"
    except UnicodeEncodeError:
        return _unicode(value) + b"\n"


def _unicode(value: Any) -> bytes:
    """With U+FFFD for the bytes of names that are no UTF-8, as Go writes them."""
    plain = msgspec.to_builtins(value)
    text = stdlib_json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON document."""
    return Response(
        body=encode(value),
        status=status,
        headers={**HEADERS, "Content-Type": JSON, **(headers or {})},
    )


def at_once(lines: bytes) -> Response:
    """JSON documents on lines of their own that are all there: a stream that is over."""
    return Response(body=lines, headers={**HEADERS, "Content-Type": JSON})


def empty(status: int = 204, headers: Mapping[str, str] | None = None) -> Response:
    """No body."""
    return Response(status=status, headers={**HEADERS, **(headers or {})})


def plain(body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Text."""
    return Response(
        body=body.encode(),
        status=status,
        headers={**HEADERS, "Content-Type": PLAIN, **(headers or {})},
    )


def failure(error: BaseException, as_text: bool = False) -> Response:
    """An error as Docker shapes it: ``{"message": …}``, or nothing for 304."""
    status = status_of(error)
    if status == 304:
        return empty(304)
    message = in_words(error)
    return plain(message + "\n", status) if as_text else json({"message": message}, status)


def page_not_found() -> Response:
    """What the router says; it has no ``Api-Version``, as no route was found."""
    return Response(
        body=b'{"message":"page not found"}\n',
        status=404,
        headers={**BARE_HEADERS, "Content-Type": JSON},
    )


async def stream(
    call: Call, content_type: str, headers: Mapping[str, str] | None = None
) -> StreamResponse:
    """Begin a chunked 200; its head is on the wire when this returns."""
    response = StreamResponse(
        status=200, headers={**HEADERS, "Content-Type": content_type, **(headers or {})}
    )
    if call.request.version >= HttpVersion11:
        response.enable_chunked_encoding()
    await response.prepare(call.request)
    call.connection.streamed = response
    return response
