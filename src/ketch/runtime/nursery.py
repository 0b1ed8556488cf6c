"""The nursery: a copy of the launcher that imports what workers need, and forks them.

Importing a task's modules takes some 30 ms, which is most of what a small job costs. The nursery
imports them once and its workers share them. It is there while there is work, and for a while
after: the launcher, which imports nothing of all this, starts it and lets it go.

It runs no task itself, and sees no data: what it gets is the launcher's ``work`` message.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import gc
import os
import sys
import time

from ketch.linux.descriptors import close_all_but
from ketch.linux.eventpoll import READ, Loop
from ketch.linux.process import SIGKILL, die_with_parent, set_name
from ketch.runtime import protocol, worker
from ketch.runtime.protocol import Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Body = dict[str, Any]

_PATIENCE = 2.0  # seconds that it waits for more work, if nobody says how long


class Nursery:
    """The launcher's side: the nursery that there is, if there is one.

    ``place`` is a directory to put a worker's tree over.
    """

    def __init__(self, loop: Loop, place: str) -> None:
        self._loop = loop
        self._place = place
        self._sock: _socket.socket | None = None
        self._until = 0.0

    def hand_over(self, message: Message, roots: "Sequence[int]") -> None:
        """Have a worker forked for a ``work`` message; ``roots`` are the mounts that it names."""
        fds = [*roots, *message.fds]
        try:
            protocol.send_raw(self._live(), message.raw, fds)
        except ConnectionError:  # it was killed, which nobody has noticed yet
            self._let_go()
            protocol.send_raw(self._live(), message.raw, fds)
        patience = float(message.body["work"].get("linger") or _PATIENCE)
        self._until = max(self._until, time.monotonic() + patience)
        self._loop.at(self._until, self._let_go)

    def _live(self) -> "_socket.socket":
        if self._sock is None:
            ours, theirs = _socket.socketpair(
                _socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
            )
            try:
                if not os.fork():
                    _be_nursery(theirs, self._place)
            finally:
                theirs.close()
            self._sock = ours
            self._loop.watch(ours.fileno(), READ, lambda _: self._let_go())
        return self._sock

    def _let_go(self) -> None:
        """It ends when its last worker has; or is dead already."""
        if self._sock is not None:
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None


def _be_nursery(launcher: "_socket.socket", place: str) -> None:
    """The life of the forked process; does not return."""
    try:
        die_with_parent(SIGKILL)
        _signal.set_wakeup_fd(-1)
        close_all_but([launcher.fileno()])
        os.setsid()  # a signal to the launcher's group is none of its business
        set_name(b"ketch-nursery")
        _Process(launcher, place).run()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(0)


class _Process:
    """The nursery itself."""

    def __init__(self, launcher: "_socket.socket", place: str) -> None:
        self._loop = Loop()
        self._launcher: _socket.socket | None = launcher
        self._place = place
        self._workers: dict[int, int] = {}  # pid → control socket
        self._wake, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, lambda number, frame: None)
        self._loop.watch(self._wake, READ, lambda _: self._reap())
        self._loop.watch(launcher.fileno(), READ, lambda _: self._serve(launcher))

    def run(self) -> None:
        """Fork workers until the launcher closes its socket; then until the last has ended."""
        while self._launcher is not None or self._workers:
            self._loop.turn()

    def _serve(self, launcher: "_socket.socket") -> None:
        message = protocol.receive(launcher)
        if message is None:
            self._loop.forget(launcher.fileno())
            launcher.close()
            self._launcher = None
            return
        try:
            self._start(message)
        except OSError as error:  # EAGAIN, ENOMEM: the control socket's end tells who asked
            print(f"ketch: cannot fork a worker: {error}", file=sys.stderr, flush=True)
        finally:
            message.close()

    def _start(self, message: Message) -> None:
        work, fds = message.body["work"], list(message.fds)
        tree = worker.Tree(fds.pop(0), self._place) if work.get("rootfs") else None
        control = fds.pop(len(work.get("trees", ())))
        if worker.load(str(work["task"])):
            gc.freeze()  # children share these pages as long as no collection touches them
        pid = os.fork()
        if not pid:
            self._be_worker(work, control, fds, tree)
        own = os.dup(control)
        self._workers[pid] = own
        self._loop.watch(own, 0, lambda _: self._kill(pid))

    def _be_worker(
        self, work: "Body", control: int, fds: "list[int]", tree: "worker.Tree | None"
    ) -> None:
        status = 70  # EX_SOFTWARE
        try:
            _signal.set_wakeup_fd(-1)
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            os.setsid()  # so that it can be killed with its children
            worker.run_worker(work, control, fds, tree)
            status = 0
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            os._exit(status)

    def _kill(self, pid: int) -> None:
        """Whoever asked has closed the control socket."""
        self._loop.forget(self._workers[pid])
        for kill in (os.killpg, os.kill):  # it may not lead its group yet
            try:
                kill(pid, SIGKILL)
            except ProcessLookupError:
                pass

    def _reap(self) -> None:
        try:
            os.read(self._wake, 4096)
        except BlockingIOError:
            pass
        while self._workers:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            own = self._workers.pop(pid, -1)
            if own >= 0:
                self._loop.forget(own)
                os.close(own)
