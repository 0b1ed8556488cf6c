"""gRPC over connections that were HTTP before, with ketch's messages.

``grpclib`` does the protocol; it is imported when the first client comes. The other side is not
trusted: a message that is larger than BuildKit's own limit, compressed or cut short is refused with
an error of ketch's, where ``grpclib`` would keep it all or fail by an assertion.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from grpclib.client import Channel
from grpclib.client import Handler as ClientHandler
from grpclib.config import Configuration
from grpclib.const import Cardinality, Status
from grpclib.const import Handler as Method
from grpclib.encoding.base import CodecBase
from grpclib.events import _DispatchServerEvents
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol, Stream
from grpclib.server import Handler
from h2.config import H2Configuration

from ketch.buildkit.located import DetailsCodec
from ketch.errors import InvalidParameter
from ketch.protobuf import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

_WINDOW = 4 << 20  # bytes in flight, of a stream and of the connection
_LARGEST = 16 << 20  # bytes of a message, as BuildKit's servers and clients have it
_LIMITS = Configuration(http2_connection_window_size=4 * _WINDOW, http2_stream_window_size=_WINDOW)


class Codec(CodecBase):
    """Encodes ``ketch.protobuf`` messages."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        """Its wire form."""
        if not isinstance(message, message_type):
            raise TypeError(f"{type(message).__name__} sent instead of {message_type.__name__}")
        return cast(Message, message).encode()

    def decode(self, data: bytes, message_type: Any) -> Any:
        """Raises ``InvalidParameter``."""
        return message_type.decode(data)


class ServedConnection:
    """One connection whose calls ``methods`` answers; it lives as long as its client wants."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        known = _Methods(methods)
        self._handler = Handler(known, Codec(), DetailsCodec(), _DispatchServerEvents())
        self._protocol = _Watched(self._handler, _LIMITS.__for_server__(), _h2(client=False))

    def protocol(self) -> H2Protocol:
        """To be given a transport."""
        return self._protocol

    async def serve(self, sock: socket.socket, head: bytes) -> None:
        """Serve a connected socket until it is closed; ``head`` is what was read of it already."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._protocol.head = head
        transport, _ = await loop.connect_accepted_socket(lambda: self._protocol, sock)
        try:
            await self._protocol.gone.wait()
        finally:
            transport.close()
            if not self._handler.closing:  # or calls that are being cleaned up were cancelled anew
                self._handler.close()
            await self._handler.wait_closed()


class _Methods(dict[str, Method]):
    """By path; one that is not there is refused by its name.

    What ``grpclib`` says of it lacks a header, so that clients complain of that instead.
    """

    def get(self, path: str, default: Any = None) -> Any:
        return super().get(path) or Method(
            partial(self._refuse, path), Cardinality.STREAM_STREAM, Message, Message
        )

    async def _refuse(self, path: str, stream: Any) -> None:
        service, _, name = path.lstrip("/").rpartition("/")
        known = any(other.startswith(f"/{service}/") for other in self)
        told = f"method {name:.100} for service {service}" if known else f"service {service:.100}"
        raise GRPCError(Status.UNIMPLEMENTED, f"unknown {told}: ketch does not have it")


class _Watched(H2Protocol):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.gone = asyncio.Event()
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        made = self.connection
        streams = partial(
            _BoundedStream, made, made._connection, cast(asyncio.Transport, transport)
        )
        made.create_stream = streams  # type: ignore[method-assign]
        if self.head:  # before anything that the transport reads by itself
            self.data_received(self.head)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.gone.set()


class _BoundedStream(Stream):
    """Prefixes and messages are read from it in turn."""

    _in_message = False

    async def recv_data(self, size: int) -> bytes:
        if self._in_message and size > _LARGEST:
            raise InvalidParameter(f"a message of {size} bytes is larger than {_LARGEST}")
        try:
            data = await super().recv_data(size)
        except AssertionError:
            raise InvalidParameter("malformed message: it is shorter than it says") from None
        if len(data) < size:
            if data or self._in_message:
                raise InvalidParameter("malformed message: it is shorter than it says")
            return data  # the end, between two messages
        if not self._in_message and data[:1] != b"\0":
            raise InvalidParameter("compressed messages are not supported by ketch")
        self._in_message = not self._in_message
        return data


class SocketChannel(Channel):
    """A client's side of gRPC on a connected socket; it never connects again."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(codec=Codec(), status_details_codec=DetailsCodec(), config=_LIMITS)
        self._sock: socket.socket | None = sock
        sock.setblocking(False)

    def _protocol_factory(self) -> H2Protocol:
        return _Watched(ClientHandler(), self._config, self._h2_config)

    async def _create_connection(self) -> H2Protocol:
        sock, self._sock = self._sock, None
        if sock is None:
            raise ConnectionError("the client's session is over")
        _, protocol = await self._loop.connect_accepted_socket(self._protocol_factory, sock)
        return protocol

    async def gone(self) -> None:
        """Connect, and wait until the other side has closed the connection."""
        protocol = cast(_Watched, await self.__connect__())
        await protocol.gone.wait()

    def close(self) -> None:
        """Close the connection, or the socket if it was never used."""
        super().close()
        if self._sock is not None:
            self._sock.close()


def _h2(*, client: bool) -> H2Configuration:
    return H2Configuration(
        client_side=client,
        header_encoding="ascii",
        validate_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_inbound_headers=False,
        normalize_outbound_headers=False,
    )
