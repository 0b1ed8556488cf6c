"""Connections to an engine on another machine through the user's own ``ssh``.

``ssh`` runs ``ketch system dial-stdio`` over there (or docker's, where there is no ketch), which
connects its stdio to the engine's socket. Keys, host names, proxies and known hosts are those of
the user's ssh configuration.
"""

import _socket
import os
import subprocess

from ketch.client.address import Address
from ketch.errors import Unavailable


class Tunnel:
    """One ssh process; ``sock`` is the connection that it carries."""

    __slots__ = ("_address", "_process", "sock")

    def __init__(self, address: Address) -> None:
        self._address = address
        self.sock, theirs = _socket.socketpair()
        try:
            self._process = subprocess.Popen(
                command(address), stdin=theirs.fileno(), stdout=theirs.fileno()
            )
        except FileNotFoundError:
            raise Unavailable(
                f"cannot connect to {address.text}: there is no ssh program on this machine"
            ) from None
        finally:
            theirs.close()

    def reason(self) -> str:
        """Why the connection ended without an answer."""
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return f"{self._address.text} closed the connection without an answer"
        return (
            f"cannot connect to the ketch daemon at {self._address.text}: ssh ended with status"
            f" {status}. Is ketch installed there, and may the user reach its socket?"
        )


def command(address: Address) -> "list[str]":
    """The command line of ssh. The remote shell gets one word of ``sh``, whichever shell it is."""
    words = ["ssh", "-o", "ConnectTimeout=30", "-T"]
    if address.user:
        words += ["-l", address.user]
    if address.port:
        words += ["-p", str(address.port)]
    host = f"--host {_quoted('unix://' + address.path)} " if address.path else ""
    script = (
        f"if command -v ketch >/dev/null; then exec ketch {host}system dial-stdio;"
        f" else exec docker {host}system dial-stdio; fi"
    )
    return [*words, "--", address.host, f"sh -c {_quoted(script)}"]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def dial(sock: "_socket.socket", stdin: int = 0, stdout: int = 1) -> None:
    """The far side: bytes between stdio and a connected socket until the engine closes it."""
    import select

    poller = select.poll()
    poller.register(stdin, select.POLLIN)
    poller.register(sock.fileno(), select.POLLIN)
    while True:
        for fd, _ in poller.poll():
            if fd == stdin:
                data = os.read(stdin, 1 << 16)
                if data:
                    sock.sendall(data)
                else:
                    poller.unregister(stdin)
                    sock.shutdown(1)
            else:
                data = sock.recv(1 << 16)
                if not data:
                    return
                while data:
                    data = data[os.write(stdout, data) :]
