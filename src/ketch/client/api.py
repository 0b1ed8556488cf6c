"""``Client``: calls of the Engine API, answers decoded, errors raised by category.

Paths are sent without a version, which every engine answers by its newest rules. One idle
connection is kept and reused; a call that streams or waits takes a connection of its own.
"""

from ketch.client.connection import Connection, EngineUnreachable, Response
from ketch.errors import (
    Conflict,
    Forbidden,
    InvalidParameter,
    KetchError,
    NotFound,
    NotModified,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ketch.client.address import Address

CATEGORIES: "dict[int, type[KetchError]]" = {
    304: NotModified,
    400: InvalidParameter,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    501: Unsupported,
    503: Unavailable,
}


class Client:
    """A typed door to one engine."""

    def __init__(self, address: "Address") -> None:
        self.address = address
        self._idle: Connection | None = None
        self._ahead: list[Connection] = []

    def connect_ahead(self) -> None:
        """Connect to an engine of this machine now, for the next exchange: it accepts while the
        caller still prepares. Whether that works shows at the exchange."""
        if self.address.scheme == "unix" and not self._ahead:
            try:
                self._ahead.append(Connection(self.address))
            except EngineUnreachable:
                pass

    def _fresh(self) -> Connection:
        """A connection of one's own; several threads may ask at once."""
        try:
            return self._ahead.pop()
        except IndexError:
            return Connection(self.address)

    def call(
        self,
        method: str,
        path: str,
        query: "dict[str, Any] | None" = None,
        body: object = None,
        meanwhile: "Callable[[], None] | None" = None,
    ) -> "Any":
        """One exchange with JSON both ways; returns the decoded answer or None.

        ``meanwhile`` is called once the request is sent. Raises the ``ketch.errors`` category of
        the status with the engine's message.
        """
        connection = self._idle or self._fresh()
        self._idle = None
        self._send(connection, method, path + encode_query(query), body)
        if meanwhile is not None:
            meanwhile()
        response = self._received(connection, method)
        answer = response.body()
        self._idle = connection
        if "json" not in response.headers.get("content-type", ""):
            return answer.decode() if answer else None
        return fastjson.loads(answer) if answer.strip() else None

    def stream(
        self,
        method: str,
        path: str,
        query: "dict[str, Any] | None" = None,
        body: object = None,
        headers: "dict[str, str] | None" = None,
    ) -> Response:
        """One exchange on a connection of its own; the caller reads the body as it comes."""
        connection = self._fresh()
        return self._exchange(connection, method, path + encode_query(query), body, headers)

    def json_lines(
        self, method: str, path: str, query: "dict[str, Any] | None" = None, **options: "Any"
    ) -> "Iterator[dict[str, Any]]":
        """A stream of JSON objects, one a line (pull, build, events)."""
        for line in self.stream(method, path, query, **options).lines():
            if line.strip():
                yield fastjson.loads(line)

    def hijack(
        self, path: str, query: "dict[str, Any] | None" = None, body: object = None
    ) -> "tuple[_socket.socket, bytes, Response]":
        """POST and take the connection over: (socket, bytes already read, answer)."""
        connection = self._fresh()
        upgrade = {"Connection": "Upgrade", "Upgrade": "tcp"}
        response = self._exchange(connection, "POST", path + encode_query(query), body, upgrade)
        return connection.sock, connection.buffer, response

    def _exchange(
        self,
        connection: Connection,
        method: str,
        path: str,
        body: object,
        headers: "dict[str, str] | None" = None,
    ) -> Response:
        self._send(connection, method, path, body, headers)
        return self._received(connection, method)

    def _send(
        self,
        connection: Connection,
        method: str,
        path: str,
        body: object,
        headers: "dict[str, str] | None" = None,
    ) -> None:
        sent = dict(headers or {})
        raw: bytes | Iterable[bytes] | None
        if body is None or isinstance(body, bytes) or hasattr(body, "__next__"):
            raw = body  # type: ignore[assignment]
        else:
            raw = fastjson.dumps(body)
            sent["Content-Type"] = "application/json"
        connection.send_request(method, path, sent, raw)

    def _received(self, connection: Connection, method: str) -> Response:
        response = connection.read_response()
        response.has_body = response.has_body and method != "HEAD"
        if response.status >= 300:
            raise error_of(response)
        return response


def error_of(response: Response) -> KetchError:
    """The error that an answer of status 300 or more stands for."""
    text = response.body()
    message = text.decode("utf-8", "replace").strip()
    if "json" in response.headers.get("content-type", ""):
        try:
            message = str(fastjson.loads(text)["message"])
        except (ValueError, KeyError, TypeError):
            pass
    error = CATEGORIES.get(response.status, KetchError)(message)
    error.from_engine = True
    return error


def encode_query(query: "dict[str, Any] | None") -> str:
    """``?a=b…``; None and False are left out, True is 1, lists repeat, dicts are JSON."""
    if not query:
        return ""
    words = []
    for name, value in query.items():
        if value is None or value is False:
            continue
        for item in value if isinstance(value, (list, tuple)) else (value,):
            text = fastjson.dumps(item).decode() if isinstance(item, dict) else str(item)
            words.append(f"{name}={quote('1' if item is True else text)}")
    return "?" + "&".join(words) if words else ""


SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


def quote(text: str) -> str:
    """Percent-encode (RFC 3986); ``urllib.parse`` is too slow to import."""
    return "".join(
        chr(byte) if byte in SAFE else f"%{byte:02X}"
        for byte in text.encode("utf-8", "surrogateescape")
    )
