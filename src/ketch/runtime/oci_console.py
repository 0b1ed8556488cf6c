"""Terminals of ``ketch-runtime``: the master goes to a console socket, or is relayed here."""

import _socket
import os
import select
from struct import Struct

from ketch.errors import InvalidParameter, Unavailable, errno_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def check(terminal: bool, console_socket: str, relays: bool) -> None:
    """Raise ``InvalidParameter`` when process.terminal and --console-socket do not fit."""
    if terminal and not console_socket and not relays:
        raise InvalidParameter("process.terminal without --console-socket: nobody takes the master")
    if console_socket and not terminal:
        raise InvalidParameter("--console-socket makes no sense: process.terminal is not set")


def connect(path: str) -> "_socket.socket":
    """Connect to the stream socket that waits for the master; raises ``Unavailable``."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    folder, name = os.path.split(path)
    fd = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{fd}/{name}" if len(os.fsencode(path)) > 107 else path)
    except OSError as error:
        raise Unavailable(f"cannot connect to console socket {path}: {errno_text(error)}") from None
    finally:
        os.close(fd)
    return sock


def hand_over(sock: "_socket.socket", master: int) -> None:
    """Send the master with a name as payload, as console sockets expect it, and close both."""
    rights = Struct("=i").pack(master)
    sock.sendmsg([b"/dev/ptmx"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    sock.close()
    os.close(master)


def relay(master: int) -> None:
    """Copy between our stdio and the master until the terminal's last user is gone."""
    old = _raw(0)
    watched = [master, 0]
    _follow_window(master)
    try:
        while True:
            ready = select.select(watched, [], [])[0]
            if 0 in ready and not _pump(0, master):
                watched.remove(0)
            if master in ready and not _pump(master, 1):
                return
    finally:
        _restore(0, old)
        os.close(master)


def _pump(source: int, target: int) -> bool:
    """Move what is there; False at the end (EIO from a master without slaves)."""
    try:
        data = os.read(source, 65536)
    except OSError:
        return False
    while data:
        data = data[os.write(target, data) :]
        if not data:
            return True
    return False


def _raw(fd: int) -> "Any":
    """Put our terminal, if it is one, into raw mode; the previous settings."""
    if not os.isatty(fd):
        return None
    import termios
    import tty

    old = termios.tcgetattr(fd)
    tty.setraw(fd)
    return old


def _restore(fd: int, old: "Any") -> None:
    if old is not None:
        import termios

        termios.tcsetattr(fd, termios.TCSADRAIN, old)


def _follow_window(master: int) -> None:
    """Give the container's terminal the size of ours, now and whenever that changes."""
    if not os.isatty(0):
        return
    import _signal  # type: ignore[import-not-found]
    import termios

    def copy(number: int = 0, frame: object = None) -> None:
        termios.tcsetwinsize(master, termios.tcgetwinsize(0))

    _signal.signal(_signal.SIGWINCH, copy)
    copy()
