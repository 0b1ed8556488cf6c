"""``grpc.health.v1.Health``: who connects to the socket as to BuildKit's own daemon may ask it
whether that serves (github.com/grpc/grpc, doc/health-checking.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from grpclib.const import Cardinality, Handler

from ketch.buildkit.calls import guarded, received
from ketch.buildkit.messages.session import HealthCheckRequest, HealthCheckResponse
from ketch.errors import NotFound

if TYPE_CHECKING:
    from grpclib.server import Stream

_HEALTH = "/grpc.health.v1.Health/"
_SERVING, _UNKNOWN = 1, 3


class Health:
    """Of the services whose methods are served; "" is all of them."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._services = {"", *(path.rpartition("/")[0].lstrip("/") for path in paths)}

    def methods(self) -> dict[str, Handler]:
        """By path."""
        one, many = Cardinality.UNARY_UNARY, Cardinality.UNARY_STREAM
        messages = (HealthCheckRequest, HealthCheckResponse)
        return {
            _HEALTH + "Check": Handler(guarded(self.check), one, *messages),
            _HEALTH + "Watch": Handler(guarded(self.watch), many, *messages),
        }

    async def check(self, stream: Stream[Any, Any]) -> None:
        """Who is asked serves; raises ``NotFound`` for a service that there is not."""
        request = await received(stream)
        if request.service not in self._services:
            raise NotFound(f"unknown service {request.service!r:.100}")
        await stream.send_message(HealthCheckResponse(status=_SERVING))

    async def watch(self, stream: Stream[Any, Any]) -> None:
        """Said once: nothing changes until the connection ends."""
        request = await received(stream)
        known = request.service in self._services
        await stream.send_message(HealthCheckResponse(status=_SERVING if known else _UNKNOWN))
        await asyncio.Event().wait()
