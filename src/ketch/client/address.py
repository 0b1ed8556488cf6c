"""Where the engine listens: ``unix://``, ``tcp://``, ``ssh://``, as a value.

On the command line's start path: imports nothing heavy.
"""

from ketch.errors import InvalidParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT = "unix:///run/ketch/ketch.sock"
_SCHEMES = ("unix", "tcp", "http", "https", "ssh")


class Tls:
    """Files of a TLS connection (PEM); "" = none. ``verify``: the engine's certificate counts."""

    __slots__ = ("ca", "cert", "key", "verify")

    def __init__(self, ca: str = "", cert: str = "", key: str = "", *, verify: bool = True) -> None:
        self.ca = ca
        self.cert = cert
        self.key = key
        self.verify = verify


class Address:
    """One engine address: ``scheme`` is ``unix`` (``path``), ``tcp`` (``host``, ``port``) or
    ``ssh`` (``user``, ``host``, ``port``, and ``path``, the socket over there if it is not the
    usual one). ``tls`` is None for plain connections, ``headers`` go with every request."""

    __slots__ = ("headers", "host", "path", "port", "scheme", "text", "tls", "user")

    def __init__(self, text: str) -> None:
        scheme, separator, rest = text.partition("://")
        if not separator or scheme not in _SCHEMES:
            raise InvalidParameter(
                f"unable to parse engine host {text!r}: use unix:///path, tcp://host:port"
                " or ssh://user@host"
            )
        self.text = text
        self.path = self.host = self.user = ""
        self.port = 0
        self.tls: Tls | None = None
        self.headers: Mapping[str, str] = {}
        self.scheme = scheme if scheme in ("unix", "ssh") else "tcp"
        if self.scheme == "unix":
            self.path = rest
        elif self.scheme == "ssh":
            self._read_ssh(rest)
        else:
            self._read_tcp(rest)

    @property
    def authority(self) -> str:
        """The ``Host`` of requests (RFC 9110, 7.2); sockets have none."""
        if self.scheme != "tcp":
            return "ketch"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def _read_tcp(self, rest: str) -> None:
        host, _, port = rest.rstrip("/").rpartition(":")
        if not host or not port.isdigit():
            raise InvalidParameter(
                f"unable to parse engine host {self.text!r}: the port is missing"
            )
        self.host, self.port = host.strip("[]"), int(port)

    def _read_ssh(self, rest: str) -> None:
        authority, slash, path = rest.partition("/")
        self.user, _, authority = authority.rpartition("@")
        host, colon, port = authority.rpartition(":")
        if not colon or authority.endswith("]"):
            host, port = authority, "0"
        self.host = host.strip("[]")
        self.path = slash + path if path else ""
        if ":" in self.user:
            raise InvalidParameter(
                f"unable to parse engine host {self.text!r}: ssh takes no password in a URL"
            )
        if not self.host or self.host.startswith("-") or not port.isdigit():
            raise InvalidParameter(
                f"unable to parse engine host {self.text!r}: use ssh://user@host:port"
            )
        self.port = int(port)
