"""POST /grpc and POST /session: from HTTP to gRPC, as BuildKit's clients ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.api import hijack
from ketch.errors import InvalidParameter, Unsupported

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call
    from ketch.api.upgrades import Upgrades

_UUID = "X-Docker-Expose-Session-Uuid"


async def grpc(call: Call) -> StreamResponse:
    """POST /grpc: the client calls on this connection from now on."""
    upgrades = _upgrades(call)
    taken = await hijack.take_for(call, "h2c")
    upgrades.serve(taken.sock, taken.read_ahead)
    return hijack.Hijacked()


async def session(call: Call) -> StreamResponse:
    """POST /session: the client is called on this connection from now on."""
    upgrades = _upgrades(call)
    if not call.request.headers.get(_UUID):
        raise InvalidParameter(f"a session needs the header {_UUID}")
    headers = [(name, value) for name, value in call.request.headers.items()]
    taken = await hijack.take_for(call, "h2c")
    upgrades.session(taken.sock, headers)
    return hijack.Hijacked()


def _upgrades(call: Call) -> Upgrades:
    if call.request.headers.get("Upgrade", "").lower() != "h2c":
        raise InvalidParameter("the request needs the header Upgrade: h2c")
    if call.connection.upgrades is None:
        raise Unsupported("this engine serves no gRPC")
    return call.connection.upgrades
