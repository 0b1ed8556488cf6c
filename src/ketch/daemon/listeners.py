"""Listening sockets: unix, TCP with mutual TLS, and those that systemd passes."""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import stat
from typing import TYPE_CHECKING, NamedTuple

from ketch.daemon.systemd import inherited_sockets
from ketch.errors import Conflict, InvalidParameter, errno_text

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import Callable

    from ketch.api.server import ApiServer
    from ketch.daemon.settings import Settings

BACKLOG = 512
_GROUPS = ("ketch", "docker")


class Listener(NamedTuple):
    """A listening socket; ``tls`` for TCP."""

    sock: socket.socket
    address: str
    tls: ssl.SSLContext | None = None
    path: str = ""  # of a unix socket that we made

    def close(self) -> None:
        """Stop listening; a socket file that we made goes with it."""
        self.sock.close()
        if self.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)

    @property
    def remote(self) -> bool:
        """Whether other machines, and browsers, may reach it."""
        return self.sock.family != socket.AF_UNIX

    def factory(self, api: ApiServer) -> Callable[[], asyncio.Protocol]:
        """What makes the protocol of an accepted connection."""
        if self.tls is None:
            return api.remote_factory if self.remote else api.protocol_factory
        from ketch.daemon.tls import TlsFront  # only a TLS listener pays for it

        context = self.tls
        return lambda: TlsFront(context, api.remote_factory)


def open_all(settings: Settings) -> list[Listener]:
    """Every listener of the settings.

    Raises ``InvalidParameter`` or ``Conflict`` saying which address can't be had and why; then
    those opened before are closed.
    """
    found: list[Listener] = []
    passed = inherited_sockets()
    try:
        for host in settings.listeners:
            found += _open(host, settings, passed)
    except BaseException:
        for listener in found:
            listener.close()
        raise
    return found


def _open(host: str, settings: Settings, passed: list[socket.socket]) -> list[Listener]:
    scheme, _, rest = host.partition("://")
    if scheme == "fd":
        if not passed:
            raise InvalidParameter(f"hosts: {host!r}, but systemd passed no socket")
        return [Listener(sock, host) for sock in passed]
    if scheme == "unix":
        adopted = next((sock for sock in passed if sock.getsockname() == rest), None)
        if adopted is not None:
            return [Listener(adopted, host)]
        return [Listener(_unix(rest, settings.group), host, path=rest)]
    return [Listener(_tcp(rest), host, _tls(settings))]


def _unix(path: str, group: str) -> socket.socket:
    """0660 root:group from the first instant: the umask keeps it shut until the group is set."""
    remove_stale(path)
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        sock.bind(path)
    except OSError as error:
        sock.close()
        raise InvalidParameter(f"can't listen on {path}: {errno_text(error)}") from None
    finally:
        os.umask(before)
    os.chown(path, 0, _group_id(group))
    os.chmod(path, 0o660)
    sock.listen(BACKLOG)
    return sock


def remove_stale(path: str) -> None:
    """Remove a socket on which nobody listens; raises ``Conflict`` for what is served or none."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise Conflict(f"can't listen on {path}: it is there and is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            os.unlink(path)
            return
    raise Conflict(f"can't listen on {path}: another process serves it")


def _group_id(group: str) -> int:
    """The group's ID; without one named, that of ketch or docker if there is one, else root's."""
    for name in (group,) if group else _GROUPS:
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            continue
    if group:
        raise InvalidParameter(f"group: there is no group {group!r}")
    return 0


def _tcp(address: str) -> socket.socket:
    name, _, port = address.rpartition(":")
    name = name.strip("[]")
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((name, int(port)))
    except OSError as error:
        sock.close()
        raise InvalidParameter(f"can't listen on tcp://{address}: {errno_text(error)}") from None
    sock.listen(BACKLOG)
    return sock


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.tlsverify:
        return None
    import ssl  # only a TCP listener pays for it

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(settings.tlscert, settings.tlskey)
        context.load_verify_locations(settings.tlscacert)
    except (OSError, ssl.SSLError) as error:
        raise InvalidParameter(f"the TLS certificates can't be used: {error}") from None
    return context
