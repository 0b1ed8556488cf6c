"""Accepting connections, also when this process may hardly open a file.

The event loop's own server closes whoever comes when no descriptor is left, and clients that keep
an idle connection can hold the last one for an hour. Here idle connections give way, who comes
waits, and who waited in vain is told why.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import socket
from typing import TYPE_CHECKING

from ketch.linux import open_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from ketch.daemon.listeners import Listener

_log = logging.getLogger(__name__)

_BATCH = 64  # accepted at most before others have their turn
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_AGAIN = 0.01  # seconds until the next try
_PATIENCE = 2.0  # seconds in which nobody could be accepted


class Acceptor:
    """Serves one listening socket; ``factory`` makes the protocol of a connection.

    ``give_way`` closes what is idle. It is called when descriptors run short, and before anybody
    is refused.
    """

    def __init__(
        self,
        listener: Listener,
        factory: Callable[[], asyncio.Protocol],
        give_way: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening = listener.sock
        self._speaks_tls = listener.tls is not None
        self._factory = factory
        self._give_way = give_way
        self._spare = _spare()  # to accept with who is refused
        self._refuse_at = 0.0  # the loop's time; 0 while there is room
        self._retry: asyncio.TimerHandle | None = None
        self._joining: set[asyncio.Task[None]] = set()
        self._listening.setblocking(False)
        self._loop.add_reader(self._listening, self._accept)

    def close(self) -> None:
        """Accept nobody any more; connections that are there stay."""
        self._loop.remove_reader(self._listening)
        if self._retry is not None:
            self._retry.cancel()
        self._close_spare()

    def _accept(self) -> None:
        try:
            for _ in range(_BATCH):
                self._serve(self._listening.accept()[0])
                self._refuse_at = 0.0
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in _SCARCE:
                raise
            self._wait()

    def _serve(self, client: socket.socket) -> None:
        if open_files.nearly_all_used(client.fileno()):
            self._give_way()
        task = self._loop.create_task(self._join(client))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def _join(self, client: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, client)
        except OSError as error:
            client.close()
            _log.warning("a connection could not be served: %s", error)

    def _wait(self) -> None:
        """Nothing can be accepted now: try again soon, or tell those who wait."""
        self._give_way()
        now = self._loop.time()
        self._refuse_at = self._refuse_at or now + _PATIENCE
        if now >= self._refuse_at:
            self._refuse()
        self._loop.remove_reader(self._listening)
        self._retry = self._loop.call_later(_AGAIN, self._resume)

    def _resume(self) -> None:
        self._loop.add_reader(self._listening, self._accept)

    def _refuse(self) -> None:
        """Answer everyone who waits with the descriptor that is kept for that."""
        _log.error("no file descriptor is left: clients are refused")
        self._close_spare()
        with contextlib.suppress(OSError):  # BlockingIOError: that was all of them
            while True:
                client = self._listening.accept()[0]
                with client, contextlib.suppress(OSError):
                    self._say_why(client)
        with contextlib.suppress(OSError):
            self._spare = _spare()

    def _say_why(self, client: socket.socket) -> None:
        if self._speaks_tls:
            return  # no handshake, no words
        client.setblocking(False)
        client.send(_refusal())
        client.shutdown(socket.SHUT_WR)
        client.recv(1 << 16)  # over TCP, bytes left unread would undo the answer

    def _close_spare(self) -> None:
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1


def _spare() -> int:
    return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)


def _refusal() -> bytes:
    message = (
        f"ketchd has as many files open as it may, {open_files.limit()}: end what holds them"
        " (attached clients, waits, builds), or start it with a higher limit (LimitNOFILE=)"
    )
    body = json.dumps({"message": message}).encode()
    lines = (
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + body
