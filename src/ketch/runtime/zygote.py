"""The zygote: a copy of the launcher that does nothing but fork shims.

A forked child shares its parent's memory page by page until either of them writes. The launcher is
always busy writing (reference counts, above all), and each page that it writes would become private
memory of every shim forked before. The zygote touches next to nothing, so its shims keep sharing
with it and with each other.

It gets the daemon's messages ``warm``, ``start`` and ``exec`` unread; the shim decodes its own. It
ends when the launcher closes its socket, and the launcher ends with it.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import os
import sys

from ketch.linux import freeblocks, resharing
from ketch.linux.descriptors import close_all
from ketch.linux.libc import unmap_code
from ketch.runtime import protocol, shim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ketch.runtime.protocol import Message
    from ketch.runtime.returning import Home


def start(close: "Iterable[int]", home: "Home") -> "_socket.socket":
    """Fork the zygote, which closes the fds ``close``; the launcher's socket to it.

    ``home`` is where its shims offer themselves again.
    """
    ours, theirs = _socket.socketpair(
        _socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
    )
    freeblocks.use_up()
    resharing.capture()
    if os.fork():
        theirs.close()
        unmap_code()
        return ours
    try:
        close_all([ours.fileno(), *close])
        shim.rename(b"ketch-zygote")
        _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # the kernel reaps our children
        resharing.populate()
        freeblocks.use_up()
        _serve(theirs, home)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(0)


def _serve(launcher: "_socket.socket", home: "Home") -> None:
    while True:
        packet = protocol.receive_packet(launcher)
        if packet is None:
            return
        data, fds = packet
        try:
            if not os.fork():
                _become_shim(launcher, home, data, fds)
        except OSError as error:  # EAGAIN, ENOMEM: the sockets' ends tell the others
            print(f"ketch: cannot fork a shim: {error}", file=sys.stderr, flush=True)
        close_all(fds)


def _become_shim(launcher: "_socket.socket", home: "Home", data: bytes, fds: "list[int]") -> None:
    status = 70  # EX_SOFTWARE
    try:
        launcher.close()
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        os.setsid()  # a signal to the launcher's group is none of the shim's business
        message: Message | None = protocol.decode(data, fds)
        while message is not None and (role := shim.run(message)):
            message = home.next(role)
        status = 0
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(status)
