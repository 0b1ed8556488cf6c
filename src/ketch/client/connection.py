"""HTTP/1.1 over one socket: as much of RFC 9112 as the Engine API needs.

A ``Connection`` carries one exchange at a time and is kept alive between them. Responses are read
with Content-Length, chunked, or to the end of the stream; a hijacked exchange gives the socket
away. Written on ``_socket`` since ``http.client`` costs 30 ms of imports at every start of the
command line.
"""

import _socket

from ketch.errors import KetchError, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ketch.client.address import Address
    from ketch.client.ssh import Tunnel

RECEIVE = 65536
LONGEST_HEAD = 256 * 1024


class Connection:
    """A socket to the engine with a read buffer."""

    __slots__ = ("address", "buffer", "sock", "tunnel")

    def __init__(self, address: "Address") -> None:
        self.address = address
        self.buffer = b""
        self.tunnel: Tunnel | None = None
        if address.scheme == "ssh":
            import ketch.client.ssh

            self.tunnel = ketch.client.ssh.Tunnel(address)
            self.sock = self.tunnel.sock
        else:
            self.sock = _connect(address)

    def close(self) -> None:
        """Close the socket; what was buffered is lost."""
        self.sock.close()

    def send_request(
        self,
        method: str,
        path: str,
        headers: "dict[str, str]",
        body: "bytes | Iterable[bytes] | None",
    ) -> None:
        """Send one request; an iterable body goes out chunked, as it comes."""
        host = self.address.authority
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "User-Agent: ketch"]
        lines.extend(f"{name}: {value}" for name, value in self.address.headers.items())
        lines.extend(f"{name}: {value}" for name, value in headers.items())
        if body is None:
            body = b""
        if isinstance(body, bytes):
            if body or method in ("POST", "PUT"):
                lines.append(f"Content-Length: {len(body)}")
            self._send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            return
        lines.append("Transfer-Encoding: chunked")
        self._send("\r\n".join(lines).encode() + b"\r\n\r\n")
        for piece in body:
            if piece:
                self._send(b"%x\r\n%b\r\n" % (len(piece), piece))
        self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            # The engine may have answered before it read all; the answer says why.
            if not self.buffer and not self._fill():
                if self.tunnel is not None:
                    raise self._silence() from None
                raise Unavailable(
                    "the engine closed the connection in the middle of a request"
                ) from None

    def _fill(self) -> bool:
        try:
            data = self.sock.recv(RECEIVE)
        except ConnectionResetError:  # it closed with bytes of ours unread
            data = b""
        self.buffer += data
        return bool(data)

    def read_response(self) -> "Response":
        """Read status line and headers; interim 1xx answers but 101 are skipped."""
        while True:
            while b"\r\n\r\n" not in self.buffer:
                if len(self.buffer) > LONGEST_HEAD or not self._fill():
                    raise self._silence()
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            words = lines[0].split(" ", 2)
            if len(words) < 2 or not words[1].isdigit():
                raise Unavailable(f"not an HTTP answer: {lines[0][:80]!r}")
            status = int(words[1])
            if status >= 200 or status == 101:
                return Response(self, status, _headers(lines[1:]))

    def _silence(self) -> KetchError:
        """Why no answer came."""
        if self.tunnel is not None:
            return LocalFault(self.tunnel.reason())
        return Unavailable("the engine closed the connection without an answer")

    def take(self, size: int) -> bytes:
        """Up to ``size`` bytes; empty at the end of the stream."""
        if not self.buffer and not self._fill():
            return b""
        piece, self.buffer = self.buffer[:size], self.buffer[size:]
        return piece

    def take_line(self) -> bytes:
        """One line without its CRLF."""
        while b"\r\n" not in self.buffer:
            if not self._fill():
                raise Unavailable("the engine closed the connection in the middle of an answer")
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line


class Response:
    """One answer; its body is read once, whole or piece by piece."""

    __slots__ = ("connection", "has_body", "headers", "status")

    def __init__(self, connection: Connection, status: int, headers: "dict[str, str]") -> None:
        self.has_body = status not in (101, 204, 304)  # and not for HEAD (RFC 9112, 6.3)
        self.connection = connection
        self.status = status
        self.headers = headers

    def pieces(self) -> "Iterator[bytes]":
        """The body as it arrives."""
        if not self.has_body:
            return
        if "chunked" in self.headers.get("transfer-encoding", ""):
            yield from self._chunks()
        elif "content-length" in self.headers:
            left = int(self.headers["content-length"])
            while left:
                piece = self.connection.take(left)
                if not piece:
                    raise Unavailable("the engine closed the connection in the middle of an answer")
                left -= len(piece)
                yield piece
        else:
            while piece := self.connection.take(RECEIVE):
                yield piece

    def _chunks(self) -> "Iterator[bytes]":
        connection = self.connection
        while True:
            size = _chunk_size(connection.take_line())
            if size == 0:
                while connection.take_line():
                    pass
                return
            left = size
            while left:
                piece = connection.take(left)
                if not piece:
                    raise Unavailable("the engine closed the connection in the middle of an answer")
                left -= len(piece)
                yield piece
            connection.take_line()

    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.pieces())

    def lines(self) -> "Iterator[bytes]":
        """The body line by line, as it arrives."""
        rest = b""
        for piece in self.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole
        if rest:
            yield rest


def _chunk_size(line: bytes) -> int:
    """The size of the chunk that a line announces (RFC 9112, 7.1)."""
    try:
        return int(line.split(b";")[0], 16)
    except ValueError:
        raise Unavailable("the engine's answer broke off: what follows is no HTTP") from None


def _headers(lines: "list[str]") -> "dict[str, str]":
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _connect(address: "Address") -> "_socket.socket":
    if address.scheme == "unix":
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            sock.connect(address.path)
        except OSError as error:
            sock.close()
            raise EngineUnreachable(address.text, error) from None
        return sock
    import ketch.client.tcp

    try:
        return ketch.client.tcp.connect(address)
    except OSError as error:
        raise _tcp_fault(address, error) from None


def _tcp_fault(address: "Address", error: OSError) -> "EngineUnreachable":
    """Certificates have reasons of their own, which OSError's strerror does not tell."""
    reason = getattr(error, "verify_message", "") or getattr(error, "reason", "")
    if reason:
        error = OSError(f"TLS: {reason}")
    return EngineUnreachable(address.text, error)


class LocalFault(KetchError):
    """Something on this side of the connection: not what the engine answered."""


class EngineUnreachable(LocalFault):
    """Nobody answers at the address; ``reason`` is the OSError."""

    def __init__(self, address: str, reason: OSError) -> None:
        super().__init__(
            f"Cannot connect to the ketch daemon at {address}. Is the ketch daemon running?"
            if reason.errno in (2, 111)
            else f"cannot connect to the ketch daemon at {address}: {_why(reason)}"
        )
        self.reason = reason


def _why(reason: OSError) -> str:
    text = (reason.strerror or str(reason)).lower()
    if reason.errno == 13:
        return f"{text}: run this as root, or as a member of the socket's group"
    return text
