"""``POST /build?version=2``: BuildKit's messages instead of the classic builder's text, as docker
had them before buildx, and as dockerode and bollard ask for them.

Where the context is, ``remote`` says: with a session's client (``client-session``), in a second
request (``upload-request``), at a URL, or without it in this request's body. Only the first needs a
session; with one a build has its client's secrets and accounts.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from ketch.api import responses
from ketch.api.convert_build import build_options
from ketch.api.resources.container_files import upload
from ketch.build.failures import vertex_error
from ketch.build.request.options import BY_SESSION, UPLOADED
from ketch.errors import InvalidParameter, KetchError, Unsupported

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call
    from ketch.api.upgrades import GrpcFront


async def build(call: Call) -> StreamResponse:
    """Build, or hold the context of a build (``buildid=upload-request:NAME``)."""
    front = _front(call)
    name = call.text("buildid")
    if name.startswith(f"{UPLOADED}:"):
        await front.upload(name.partition(":")[2], upload(call))
        return responses.empty(200)
    options, session = build_options(call), call.text("session")
    if options.remote == BY_SESSION and not session:
        raise InvalidParameter("the parameter session is missing: remote=client-session needs one")
    messages = front.build(options, session, name, None if options.remote else upload(call))
    response: StreamResponse | None = None
    try:
        async for message in messages:
            response = response or await responses.stream(call, responses.JSON)
            for line in _lines(message, quiet=options.quiet):
                await response.write(responses.encode(line))
    except KetchError as error:
        if response is None:
            raise
        told = vertex_error(error)  # without a code: as with Docker, the client ends with 1
        found = {"errorDetail": {"message": told}, "error": told}
        await response.write(responses.encode(found))
    finally:
        await messages.aclose()  # type: ignore[attr-defined]
    assert response is not None
    return response


def _lines(message: bytes | str, *, quiet: bool) -> list[dict[str, Any]]:
    """With ``q`` clients print what comes as a stream, and nothing else may."""
    if isinstance(message, bytes):
        trace = {"id": "moby.buildkit.trace", "aux": b64encode(message).decode()}
        return [] if quiet else [trace]
    if not message:  # no image was wanted
        return []
    found = {"id": "moby.image.id", "aux": {"ID": message}}
    return [found, {"stream": f"{message}\n"}] if quiet else [found]


async def cancel(call: Call) -> StreamResponse:
    """POST /build/cancel: ``id`` as it was ``buildid``."""
    if not call.text("id"):
        raise InvalidParameter("build ID not provided")
    await _front(call).cancel(call.text("id"))
    return responses.empty(200)


def _front(call: Call) -> GrpcFront:
    if call.connection.upgrades is None:
        raise Unsupported("this engine serves no BuildKit")
    return call.connection.upgrades.front()
