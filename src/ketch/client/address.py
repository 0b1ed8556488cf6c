"""Where the engine listens: ``unix://``, ``tcp://`` and what the environment says.

On the command line's start path: imports nothing heavy.
"""

import os

from ketch.errors import InvalidParameter

DEFAULT = "unix:///run/ketch/ketch.sock"


class Address:
    """One engine address: ``scheme`` is ``unix`` (``path``) or ``tcp`` (``host``, ``port``)."""

    __slots__ = ("host", "path", "port", "scheme", "text")

    def __init__(self, text: str) -> None:
        scheme, separator, rest = text.partition("://")
        if not separator or scheme not in ("unix", "tcp", "http", "https"):
            raise InvalidParameter(
                f"unable to parse engine host {text!r}: use unix:///path or tcp://host:port"
            )
        self.text = text
        self.path = self.host = ""
        self.port = 0
        self.scheme = "unix" if scheme == "unix" else "tcp"
        if self.scheme == "unix":
            self.path = rest
            return
        host, _, port = rest.rstrip("/").rpartition(":")
        if not host or not port.isdigit():
            raise InvalidParameter(f"unable to parse engine host {text!r}: the port is missing")
        self.host, self.port = host.strip("[]"), int(port)


def from_environment(flag: str = "") -> Address:
    """The address of ``-H``, else KETCH_HOST, else DOCKER_HOST, else the default socket."""
    text = flag or os.environ.get("KETCH_HOST") or os.environ.get("DOCKER_HOST") or DEFAULT
    return Address(text)


def wants_tls() -> bool:
    """Whether the environment asks for TLS on tcp addresses (DOCKER_TLS_VERIFY)."""
    return bool(os.environ.get("DOCKER_TLS_VERIFY"))
