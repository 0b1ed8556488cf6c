"""The ``syslog`` log driver: RFC 3164 and RFC 5424 messages over unix, udp, tcp and tcp+tls.

Runs in a process of its own (``ketch.runtime.log_relay``), so it may wait. A message that cannot
be sent is tried again once over a new connection; then the server is left alone for a second and
what comes meanwhile is lost, as a dead log server must not stop containers. On the shim's import
path; ``ssl`` is loaded where it is used.
"""

import _socket
import os
import sys
import time
from errno import EPROTOTYPE

from ketch.logs.lines import Lines
from ketch.logs.rfc3339 import Clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Settings = dict[str, Any]

LOCAL_SOCKETS = ("/dev/log", "/var/run/syslog", "/var/run/log")
_ERROR, _INFO = 3, 6  # severities, RFC 5424 section 6.2.1
_TIMEOUT = 5.0  # seconds to connect, or for the server to take a message
_PAUSE = 1.0  # seconds
_FAREWELL = 1.0  # seconds for the server to end its side


class SyslogLog:
    """``settings``: ``address`` (``proto://where``, empty: the local syslog), ``facility``,
    ``format``, ``tag``, ``hostname``, ``attrs``; ``ca``, ``cert``, ``key``, ``skip_verify`` of TLS.

    Raises OSError when the server cannot be reached now.
    """

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._lines = Lines(self._log)
        self._protocol, _, self._where = settings["address"].partition("://")
        self._format = _FORMATS[settings["format"]]
        self._counted = self._protocol == "tcp+tls" and settings["format"].startswith("rfc5424")
        self._failed_at = -_PAUSE
        self._told = False
        self.clock = Clock()
        self._sock: _socket.socket | None = self._connect()

    def write(self, stream: str, data: bytes) -> None:
        """Send the lines of ``data``."""
        self._lines.add(stream, data)

    def close(self) -> None:
        """Send what never got its newline, and see to it that the server has everything.

        A connection that is closed while something of the server's is unread (TLS tickets) is
        reset, and what the server did not read yet is lost with it (tcp(7)).
        """
        self._lines.end()
        sock, self._sock = self._sock, None
        if sock is None:
            return
        try:
            sock.settimeout(_FAREWELL)
            unwrap = getattr(sock, "unwrap", None)
            if unwrap is not None:
                sock = unwrap()  # says that the end is meant, and waits for the other side's word
            sock.shutdown(_socket.SHUT_WR)
            while sock.type == _socket.SOCK_STREAM and sock.recv(4096):
                pass
        except OSError:
            pass  # a datagram socket, or a server that does not end its side
        sock.close()

    def _log(self, stream: str, data: bytes) -> None:
        priority = self._settings["facility"] * 8 + (_ERROR if stream == "stderr" else _INFO)
        head = self._format(priority, self.clock.now_ns(), self._settings)
        for line in data.removesuffix(b"\n").split(b"\n"):
            message = head + line + b"\n"
            if self._counted:
                message = b"%d %b" % (len(message), message)  # RFC 5425, section 4.3
            self._deliver(message)

    def _deliver(self, message: bytes) -> None:
        """Send; over a new connection if the old one is broken, unless that failed just now."""
        try:
            if self._sock is not None:
                self._sock.sendall(message)
                return
        except OSError as error:
            self._failed(error)
        if time.monotonic() - self._failed_at < _PAUSE:
            return
        try:
            self._sock = self._connect()
            self._sock.sendall(message)
        except OSError as error:
            self._failed(error)
            self._failed_at = time.monotonic()

    def _failed(self, error: OSError) -> None:
        self._sock = None
        if not self._told:
            self._told = True
            where = self._settings["address"] or "the local syslog"
            print(f"ketch: syslog {where}: {error}; lines are lost", file=sys.stderr, flush=True)

    def _connect(self) -> "_socket.socket":
        if self._protocol in ("", "unix", "unixgram"):
            return _connect_unix((self._where,) if self._where else LOCAL_SOCKETS)
        host, port = split_address(self._where)
        if self._protocol == "udp":
            return _connect_inet(host, port, _socket.SOCK_DGRAM)
        if self._protocol == "tcp":
            return _connect_inet(host, port, _socket.SOCK_STREAM)
        return _connect_tls(host, port, self._settings)


def split_address(where: str) -> "tuple[str, int]":
    """Host and port (514 when there is none) of ``host:port`` or ``[v6]:port``."""
    host, colon, port = where.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = where, "514"
    return host.strip("[]"), int(port)


def _connect_unix(paths: "tuple[str, ...]") -> "_socket.socket":
    fault = OSError("there is no syslog socket on this machine")
    for path in paths:
        for kind in (_socket.SOCK_DGRAM, _socket.SOCK_STREAM):
            sock = _socket.socket(_socket.AF_UNIX, kind | _socket.SOCK_CLOEXEC)
            try:
                sock.settimeout(_TIMEOUT)
                sock.connect(path)
                return sock
            except OSError as error:
                sock.close()
                fault = error
                if error.errno != EPROTOTYPE:  # only that asks for the other kind
                    break
    raise fault


def _connect_inet(host: str, port: int, kind: int) -> "_socket.socket":
    fault = OSError(f"{host} has no address")
    for family, _, _, _, address in _socket.getaddrinfo(host, port, 0, kind):
        sock = _socket.socket(family, kind | _socket.SOCK_CLOEXEC)
        try:
            sock.settimeout(_TIMEOUT)
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            fault = error
    raise fault


def _connect_tls(host: str, port: int, settings: "Settings") -> "_socket.socket":
    import socket
    import ssl

    context = ssl.create_default_context(cafile=settings["ca"] or None)
    if settings["skip_verify"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings["cert"]:
        context.load_cert_chain(settings["cert"], settings["key"] or None)
    plain = socket.socket(fileno=_connect_inet(host, port, _socket.SOCK_STREAM).detach())
    plain.settimeout(_TIMEOUT)
    return context.wrap_socket(plain, server_hostname=host)


def _stamp(instant: int) -> str:
    return time.strftime("%b %e %H:%M:%S", time.localtime(instant // 1_000_000_000))


def _unix(priority: int, instant: int, settings: "Settings") -> bytes:
    """What a local syslog takes: RFC 3164 without the host name."""
    return f"<{priority}>{_stamp(instant)} {settings['tag']}[{os.getpid()}]: ".encode()


def _rfc3164(priority: int, instant: int, settings: "Settings") -> bytes:
    host, tag = settings["hostname"], settings["tag"]
    return f"<{priority}>{_stamp(instant)} {host} {tag}[{os.getpid()}]: ".encode()


def _rfc5424(priority: int, instant: int, settings: "Settings", digits: int = 0) -> bytes:
    seconds, fraction = divmod(instant, 1_000_000_000)
    clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    part = f".{fraction // 1000:06d}" if digits else ""
    host, tag, data = settings["hostname"], settings["tag"], _structured(settings["attrs"])
    return f"<{priority}>1 {clock}{part}Z {host} {tag} {os.getpid()} {tag} {data} ".encode()


def _rfc5424_micro(priority: int, instant: int, settings: "Settings") -> bytes:
    return _rfc5424(priority, instant, settings, 6)


def _structured(attrs: "dict[str, str]") -> str:
    """STRUCTURED-DATA of RFC 5424, section 6.3; without any, ``-``."""
    if not attrs:
        return "-"
    pairs = []
    for name, value in attrs.items():
        for character in '\\"]':
            value = value.replace(character, f"\\{character}")
        pairs.append(f'{_sd_name(name)}="{value}"')
    return f"[container@0 {' '.join(pairs)}]"


def _sd_name(name: str) -> str:
    """SD-NAME: at most 32 printable ASCII characters without ``= ] "`` and space."""
    return "".join(c if "!" <= c <= "~" and c not in '="]' else "_" for c in name)[:32]


_FORMATS: "dict[str, Callable[[int, int, Settings], bytes]]" = {
    "": _unix,
    "rfc3164": _rfc3164,
    "rfc5424": _rfc5424,
    "rfc5424micro": _rfc5424_micro,
}
