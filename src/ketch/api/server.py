"""The HTTP face of an engine: find the route, check the version, answer, translate errors."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING

from aiohttp.web_response import StreamResponse

from ketch.api import responses, versions
from ketch.api.call import Call
from ketch.api.connection import Connection, ConnectionServer
from ketch.api.errors import status_of
from ketch.api.origin import OriginPolicy
from ketch.api.routes import ROUTES
from ketch.api.routing import Match, Router
from ketch.errors import InvalidParameter, KetchError, Unsupported, in_words

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

    from ketch.api.upgrades import Upgrades
    from ketch.engine.engine import Engine

_log = logging.getLogger(__name__)
_LONGEST = 1 << 20
"""Bytes of a request's line and of a header, as with Docker: build arguments are in the one, the
accounts of many registries in the other."""
_SHORTAGES = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC, errno.EDQUOT, errno.EIO)
)
"""What the machine lacks or is broken: where in the engine it was noticed tells nothing."""


class ApiServer:
    """Serves one engine; ``protocol_factory`` makes what an accepted connection is joined to.

    Needs a running event loop. ``origin`` guards connections that a browser can make (TCP).
    """

    def __init__(
        self,
        engine: Engine,
        origin: OriginPolicy | None = None,
        upgrades: Upgrades | None = None,
    ) -> None:
        self._engine = engine
        self._upgrades = upgrades
        self._origin = origin or OriginPolicy()
        self._router = Router(ROUTES)
        self._server = ConnectionServer(
            self.handle,
            access_log=None,
            auto_decompress=False,
            logger=_log,
            lingering_time=2.0,
            max_line_size=_LONGEST,
            max_field_size=_LONGEST,
        )

    def protocol_factory(self) -> Connection:
        """A protocol for one connection that was accepted on a unix socket."""
        connection = self._server()
        connection.unreadable = _unreadable
        connection.upgrades = self._upgrades
        return connection

    def remote_factory(self) -> Connection:
        """A protocol for one connection that was accepted on TCP."""
        connection = self.protocol_factory()
        connection.remote = True
        return connection

    def close_idle(self) -> None:
        """Close the connections that clients keep for requests to come."""
        self._server.close_idle()

    async def close(self, timeout: float = 1.0) -> None:
        """Close every connection; answers under way get ``timeout`` seconds."""
        await self._server.shutdown(timeout)
        if self._upgrades is not None:
            await self._upgrades.close()

    async def handle(self, request: BaseRequest) -> StreamResponse:
        """Answer one request; never raises but for cancellation."""
        if request.method == "OPTIONS":
            return responses.empty(200)
        written, path = versions.split(request.path)
        match = self._router.find(request.method, path)
        if match is None:
            return responses.page_not_found()
        connection: Connection = request.protocol  # type: ignore[assignment]
        connection.streamed = None
        try:
            response = await self._dispatch(request, written, match)
            self._engine.events.flush()  # who has an answer finds its events, whatever happens
        except Exception as error:
            answer = _failed(request, match, error)
            response = connection.break_off() or answer
        if connection.hijackable and not response.prepared:
            response.force_close()
        return response

    async def _dispatch(
        self, request: BaseRequest, written: str | None, match: Match
    ) -> StreamResponse:
        route = match.route
        version = versions.MAXIMUM if route.unversioned else versions.check(written)
        if not route.since <= version <= route.until:
            again = self._router.find(request.method, versions.split(request.path)[1], version)
            if again is None:
                return responses.page_not_found()
            route, match = again.route, again
        call = Call(self._engine, request, version, match.params)
        if call.connection.remote:
            self._origin.check(request)
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        if not route.streams:
            return await route.handler(call)
        call.connection.streaming = asyncio.current_task()
        call.connection.finite = route.finite and not call.flag("follow")
        try:
            return await route.handler(call)
        finally:
            call.connection.streaming = None


def _unreadable(reason: str) -> StreamResponse:
    return responses.failure(InvalidParameter(f"the request cannot be read: {reason}"))


def _is_gone(request: BaseRequest) -> bool:
    return request.transport is None or request.transport.is_closing()


def _failed(request: BaseRequest, match: Match, error: Exception) -> StreamResponse:
    """Translate; what nobody foresaw goes to the log with its traceback."""
    if match.route.options and isinstance(error, Unsupported):
        error = InvalidParameter(str(error))
    if isinstance(error, ConnectionError) and _is_gone(request):
        _log.debug("%s %s: the client left: %s", request.method, request.path, error)
    elif isinstance(error, OSError) and error.errno in _SHORTAGES:
        _log.warning("%s %s: %s", request.method, request.path, in_words(error))
    elif not isinstance(error, KetchError):
        _log.error("%s %s failed", request.method, request.path, exc_info=error)
    elif status_of(error) >= 500:
        _log.warning("%s %s: %s", request.method, request.path, error)
    as_text = match.route.plain_errors or isinstance(error, versions.TooOld)
    return responses.failure(error, as_text)
