"""A client's connection: aiohttp's protocol, plus what long answers and hijacking need."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import select
import socket
import termios
from typing import TYPE_CHECKING, Any

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

from ketch.api.lookahead import LIMIT, is_http2, split

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.web_request import BaseRequest
    from aiohttp.web_response import StreamResponse

    from ketch.api.upgrades import Upgrades

_log = logging.getLogger(__name__)
_LOOK_EVERY = 0.5  # seconds


class Connection(RequestHandler):
    """Cancels the handler of a streaming route when its client goes away, and sets aside what
    follows a request that may be hijacked: from then on it is not HTTP, and a half-close means
    only that the client's input is at an end."""

    __slots__ = (
        "_held", "_mid_head", "_unread", "finite", "remote", "streamed", "streaming", "unreadable",
        "upgrades",
    )  # fmt: skip

    def __init__(self, manager: Server, **options: Any) -> None:
        super().__init__(manager, loop=asyncio.get_running_loop(), **options)
        self.remote = False  # whether it came over TCP, where browsers can reach
        self.streamed: StreamResponse | None = None  # the answer that began last, in pieces
        self.streaming: asyncio.Task[Any] | None = None
        self.finite = False  # whether what is streamed ends by itself
        self.unreadable: Callable[[str], StreamResponse] | None = None  # the answer to no HTTP
        self.upgrades: Upgrades | None = None
        self._unread = b""  # the beginning of a request, not yet shown to the parser
        self._held: bytes | None = None  # what came behind a request that may be hijacked
        self._mid_head = False

    def connection_lost(self, exc: BaseException | None) -> None:
        """The transport is gone, or was handed over."""
        super().connection_lost(exc)
        if self.streaming is not None:
            self.streaming.cancel()

    def data_received(self, data: bytes) -> None:
        """Pass bytes to the parser, but for those behind a request that may be hijacked."""
        if self._held is not None:
            self._hold(data)
            return
        if not self._unread and not self._between_requests():
            super().data_received(data)
            return
        if self._request_count == 0 and self._begins_as_http2(data):
            return
        found = split(self._unread + data)
        if found is None:
            self._unread += data
            return
        self._unread = b""
        if found.rest is not None:
            self._held = b""
            self._hold(found.rest)
        before = self._request_count
        super().data_received(found.request)
        self._mid_head = self._request_count == before

    def _begins_as_http2(self, data: bytes) -> bool:
        """Whether these bytes are for somebody else, or too few to tell; then they are kept."""
        found = is_http2(self._unread + data)
        if found is False or self.upgrades is None or self.transport is None:
            return False
        self._unread += data
        if found:
            self.transport.pause_reading()  # closing takes a moment in which it would read on
            sock = self.transport.get_extra_info("socket")
            taken = socket.socket(sock.family, sock.type, sock.proto, socket.dup(sock.fileno()))
            self.transport.close()
            self.upgrades.serve(taken, self._unread)
        return True

    def _hold(self, data: bytes) -> None:
        assert self._held is not None
        self._held += data
        if len(self._held) >= LIMIT and self.transport is not None:
            self.transport.pause_reading()

    def _between_requests(self) -> bool:
        waits = self._waiter is not None and not self._waiter.done()
        return (waits or self._request_count == 0) and not self._mid_head

    def eof_received(self) -> bool:  # type: ignore[override]
        """True keeps the transport open: the client has no more input, but wants the output.

        As ``printf … | nc -N -U`` does it. A client that is gone looks the same, but for a hang-up;
        one that is gone behind ``docker system dial-stdio`` has none, so what has no end ends here.
        """
        if self._held is not None:
            return True
        if self._between_requests() or self._unread or not self._wants_output():
            return False
        self.close()  # after this answer
        asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look_for_client)
        return True

    def _wants_output(self) -> bool:
        """Whether there is somebody whose requests are whole, and answers to give."""
        payloads = [payload for _, payload in self._messages]
        if self._current_request is not None:
            payloads.append(self._current_request.content)
        if not all(payload.is_eof() for payload in payloads):
            return False
        if self.streaming is None:
            return True
        return self.finite and not self.remote and not self._is_hung_up()

    def _look_for_client(self) -> None:
        """Nothing tells of the end of a connection that is no longer read, so look."""
        if self.transport is None or self.transport.is_closing():
            return
        if not self._wants_output():
            self.transport.close()
            return
        asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look_for_client)

    def _is_hung_up(self) -> bool:
        """Whether a unix socket's other end is closed, both ways (POLLHUP, unix(7))."""
        assert self.transport is not None
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), 0)
        return bool(poll.poll(0))

    @property
    def idle(self) -> bool:
        """Whether it has had an answer, and no byte of a next request has come."""
        if not self._request_count or self._unread or not self._between_requests():
            return False
        if self.transport is None or self.transport.is_closing():
            return False
        unread = fcntl.ioctl(
            self.transport.get_extra_info("socket").fileno(), termios.FIONREAD, bytes(4)
        )
        return not any(unread)

    @property
    def hijackable(self) -> bool:
        """Whether what follows the present request was set aside; it then can't be kept alive."""
        return self._held is not None

    def break_off(self) -> StreamResponse | None:
        """Close at once where an answer has begun that is not whole: only a missing end tells a
        client of a fault by then. That answer; None where nothing has begun."""
        begun, self.streamed = self.streamed, None
        if begun is not None and self.transport is not None:
            self.transport.close()  # what was written still goes out
        return begun

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> StreamResponse:
        """Answer what is no HTTP as other bad requests; a client's fault is no news for the log."""
        broken = isinstance(exc, HttpProcessingError) and not request.writer.output_size
        if not broken or self.unreadable is None:
            return super().handle_error(request, status, exc, message)
        reason = " ".join((message or str(exc)).split("\n\n")[0].split()).rstrip(".:")
        _log.debug("a request is no HTTP: %s", reason)
        answer = self.unreadable(reason)
        answer.force_close()
        return answer

    async def flushed(self) -> None:
        """Everything written so far is with the kernel; needs write buffer limits of zero."""
        await self._drain_helper()

    def take_held(self) -> bytes:
        """What the client sent behind the request; may be taken once."""
        held, self._held = self._held or b"", b""
        return held


class ConnectionServer(Server):
    """aiohttp's low-level server, with ``Connection`` as its protocol."""

    def __call__(self) -> Connection:
        """A protocol for one accepted connection."""
        return Connection(self, **self._kwargs)

    def close_idle(self) -> None:
        """Close every connection on which nothing is under way (RFC 9112, 9.5)."""
        for connection in tuple(self.connections):
            if isinstance(connection, Connection) and connection.idle:
                connection.force_close()
