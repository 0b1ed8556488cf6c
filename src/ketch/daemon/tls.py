"""TLS in front of the API: each client gets a socketpair, and bytes are en- and decrypted between.

asyncio's own TLS closes a connection when one side ends its stream, but ``docker run`` ends its
side as soon as it has no more input and still wants all output. And the API hands connections to
other processes, which can't speak TLS. Behind this front a TLS client is a plain socket that may
be half-closed and given away.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import cast

_CHUNK = 256 * 1024
_HANDSHAKE_SECONDS = 10

Factory = Callable[[], asyncio.Protocol]


class TlsFront(asyncio.Protocol):
    """The client's side; ``factory`` makes the protocol that serves the plain side."""

    def __init__(self, context: ssl.SSLContext, factory: Factory) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._factory = factory
        self._client: asyncio.Transport | None = None
        self._plain: asyncio.Transport | None = None
        self._joining: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._client = client = cast(asyncio.Transport, transport)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(_HANDSHAKE_SECONDS, client.abort)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        self._advance()

    def eof_received(self) -> bool:
        """The client is gone or rude: TLS ends with a close_notify, not with a bare FIN."""
        self._incoming.write_eof()
        self._advance()
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._joining is not None:
            self._joining.cancel()
        if self._plain is not None:
            self._plain.close()

    def _advance(self) -> None:
        try:
            if self._joining is None:
                self._tls.do_handshake()
                self._join_soon()
            elif self._plain is not None:
                self._decrypt(self._plain)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._abandon()
            return
        self._flush()

    def _decrypt(self, plain: asyncio.Transport) -> None:
        while True:
            try:
                data = self._tls.read(_CHUNK)
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                plain.write_eof()
                return
            plain.write(data)

    def _flush(self) -> None:
        if self._client is not None and self._outgoing.pending:
            self._client.write(self._outgoing.read())

    def _abandon(self) -> None:
        """A broken or unauthenticated client: tell it (the alert is in the buffer) and leave."""
        self._flush()
        if self._client is not None:
            self._client.close()

    # the plain side

    def _join_soon(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        assert self._client is not None
        self._client.pause_reading()
        self._joining = asyncio.ensure_future(self._join(self._client))

    async def _join(self, client: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        try:
            plain, _ = await loop.connect_accepted_socket(lambda: _PlainSide(self), ours)
            await loop.connect_accepted_socket(self._factory, theirs)
        except BaseException:
            client.abort()
            raise
        self._plain = plain
        client.resume_reading()
        self._advance()

    def encrypt(self, data: bytes) -> None:
        """Plain bytes of the server, for the client."""
        try:
            self._tls.write(data)
        except ssl.SSLError:
            self._abandon()
            return
        self._flush()

    def finish(self) -> None:
        """The server said all: close_notify, then the connection ends when all is sent."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the answer to our close_notify is not waited for (RFC 8446, section 6.1)
        self._abandon()

    # back pressure: a full side stops the other one

    def pause_writing(self) -> None:
        if self._plain is not None:
            self._plain.pause_reading()

    def resume_writing(self) -> None:
        if self._plain is not None:
            self._plain.resume_reading()

    def hold_client(self, hold: bool) -> None:
        """Stop or go on reading from the client."""
        if self._client is None or self._client.is_closing():
            return
        if hold:
            self._client.pause_reading()
        else:
            self._client.resume_reading()


class _PlainSide(asyncio.Protocol):
    """Our end of the socketpair."""

    def __init__(self, front: TlsFront) -> None:
        self._front = front

    def data_received(self, data: bytes) -> None:
        self._front.encrypt(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._front.finish()

    def pause_writing(self) -> None:
        self._front.hold_client(True)

    def resume_writing(self) -> None:
        self._front.hold_client(False)
