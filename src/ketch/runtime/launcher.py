"""The launcher: one small process from which everything comes that runs containers.

Its zygote forks shims and exec supervisors, its nursery workers. Single-threaded and started
once, it outlives daemons: they come and go on its socket. It answers at once and never waits for a
child: a member says on its own socket when it is ready, and what becomes of a start is
told by the shim on the control socket. Requests and answers are in ``docs/contracts.md``.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import os
import sys

from ketch.errors import InvalidParameter, KetchError
from ketch.linux import fastjson, unixpath
from ketch.linux.descriptors import close_all
from ketch.linux.eventpoll import READ, Loop
from ketch.mounts import Rootfs
from ketch.runtime import failures, protocol, shim_part, zygote
from ketch.runtime.channel import channel_pair
from ketch.runtime.groundwork import Groundwork
from ketch.runtime.launcher_peers import Crew, Daemon, Member, Spare
from ketch.runtime.nursery import Nursery
from ketch.runtime.protocol import Message, ProtocolError
from ketch.runtime.returning import Home
from ketch.runtime.sandbox import LayerMounts, mount_rootfs
from ketch.runtime.shim import FITTER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Body = dict[str, Any]

_FAULTS = (KetchError, OSError, LookupError, ValueError, TypeError)


class Launcher:
    """See the module's docstring. ``layers`` is a directory to mount layers below."""

    def __init__(self, socket_path: str, layers: str) -> None:
        self._loop = Loop()
        self._listener = unixpath.listen(socket_path)
        self._listener.setblocking(False)
        self._socket_path = socket_path
        self._layers = LayerMounts(layers)
        self._members: dict[str, Member] = {}
        self._nursery = Nursery(self._loop, layers)
        self._running = True
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> None:
        """Serve until ``shutdown``."""
        home = Home(self._socket_path)
        self._zygote = zygote.start([self._listener.fileno(), *self._loop.fds()], home)
        self._shims = Crew(self._loop, self._zygote)
        self._fitters = Crew(self._loop, self._zygote)
        _signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, lambda number, frame: None)
        self._loop.watch(self._wake_read, READ, lambda _: self._reap())
        self._loop.watch(self._listener.fileno(), READ, lambda _: self._accept())
        self._loop.watch(self._zygote.fileno(), READ, lambda _: self._lost_zygote())
        self._spare = Spare(self._loop, self._zygote)
        self._reap()  # what the rehearsal left
        while self._running:
            self._loop.turn()
        os.unlink(self._socket_path)

    # Daemons

    def _accept(self) -> None:
        try:
            sock = unixpath.accept(self._listener)
        except OSError:
            return
        if unixpath.peer_uid(sock) != 0:
            sock.close()
            return
        daemon = Daemon(self._loop, sock)
        self._loop.watch(sock.fileno(), READ, lambda events: self._serve(daemon, events))

    def _serve(self, daemon: Daemon, events: int) -> None:
        daemon.flush()
        if not events & ~4:  # only EPOLLOUT
            return
        try:
            message = daemon.receive()
        except BlockingIOError:
            return
        except ProtocolError as error:
            complain(f"a daemon sent no message: {error}")
            message = None
        if message is None:
            daemon.close()
            return
        try:
            answer = self._handle(daemon, message)
        except ConnectionError:  # no answer: the next launcher will be asked
            self._lost_zygote()
            return
        except _FAULTS as error:
            answer = {"ok": False, **failures.to_wire(error)}
        finally:
            message.close()
        if answer is not None:
            daemon.answer(message.body.get("seq"), answer)

    def _handle(self, daemon: Daemon, message: Message) -> "Body | None":
        operation = _OPERATIONS.get(str(message.body.get("op")))
        if operation is None:
            raise InvalidParameter(f"unknown operation {message.body.get('op')!r}")
        return operation(self, daemon, message)

    def _hello(self, _daemon: Daemon, _message: Message) -> "Body":
        ready = [member.id for member in self._members.values() if member.ready]
        return {"release": protocol.RELEASE, "pid": os.getpid(), "warm": ready}

    def _shutdown(self, _daemon: Daemon, _message: Message) -> "Body":
        self._running = False
        for member in tuple(self._members.values()):
            self._dismiss(member)
        return {}

    # Warm members

    def _warm(self, daemon: Daemon, message: Message) -> "Body | None":
        warm = message.body["warm"]
        if warm["id"] in self._members:
            raise InvalidParameter(f"a warm member {warm['id']} exists")
        ours, theirs = _socket.socketpair(
            _socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
        )
        try:
            groundwork = Groundwork.of_warm(warm)
            member = Member(warm["id"], ours, daemon, message.body.get("seq"), groundwork)
            self._members[member.id] = member
            self._loop.watch(ours.fileno(), READ, lambda _: self._heard(member))
            try:
                self._set_up(message.raw, [theirs.fileno()], groundwork)
            except OSError:
                self._lose(member)
                raise
            finally:
                groundwork.close()
        finally:
            theirs.close()
        return None

    def _set_up(self, raw: bytes, fds: "list[int]", groundwork: Groundwork) -> None:
        """Have a WARM or START done: by a shim and its maker, or by a fitter and a shim."""
        if groundwork.hold is None:
            self._shims.hand_over(raw, fds)
            return
        fitter, shim = channel_pair()
        try:
            hold = fastjson.dumps(groundwork.hold)
            self._shims.hand_over(hold, [shim.sock.fileno(), *groundwork.unified])
            own = [fitter.sock.fileno(), *fds, *groundwork.route, *groundwork.tasks]
            self._fitters.hand_over(raw, own)
        finally:
            fitter.close()
            shim.close()

    def _heard(self, member: Member) -> None:
        """A member is ready, or has failed or died."""
        answer = member.receive()
        member.tell(answer)
        if not answer["ok"]:
            self._lose(member)

    def _lose(self, member: Member) -> None:
        """There is no member after all."""
        self._dismiss(member)
        member.groundwork.give_up()

    def _dismiss(self, member: Member) -> None:
        """Let a member go: closing its socket ends it, with its sandbox."""
        self._members.pop(member.id, None)
        self._loop.forget(member.sock.fileno())
        member.sock.close()

    def _drop_warm(self, _daemon: Daemon, message: Message) -> "Body":
        ids = message.body.get("ids")
        chosen = tuple(self._members) if ids is None else ids
        for name in chosen:
            if name in self._members:
                self._dismiss(self._members[name])
        return {}

    # Containers, execs, workers

    def _start(self, _daemon: Daemon, message: Message) -> "Body":
        start = message.body["start"]
        if not message.fds or len(message.fds) != 1 + len(start["attach"]):
            raise InvalidParameter("a start needs a control socket, and a socket per client")
        roots: list[int] = []
        try:
            for wire in (start["rootfs"], *start.get("images", ())):
                roots.append(mount_rootfs(Rootfs.from_wire(wire), self._layers))
            warm = self._start_warm(start, message, roots)
            if not warm:
                self._start_cold(start, message, roots)
        finally:
            close_all(roots)
        return {"warm": warm}

    def _start_cold(self, start: "Body", message: Message, roots: "list[int]") -> None:
        try:
            groundwork = Groundwork.of_start(start)
        except (KetchError, OSError) as error:
            raise shim_part.failure(error) from None
        try:
            self._set_up(message.raw, [*roots, *message.fds], groundwork)
        except OSError:
            groundwork.give_up()
            raise
        finally:
            groundwork.close()

    def _start_warm(self, start: "Body", message: Message, roots: "list[int]") -> bool:
        member = self._members.get(start["warm"] or "")
        if member is None:
            return False
        try:
            alone = not start["spec"].get("hooks")  # they want somebody outside: a maker
            return alone and member.ready and member.hand_over(message, roots)
        finally:
            self._dismiss(member)

    def _exec(self, _daemon: Daemon, message: Message) -> "Body":
        job, fds = message.body["exec"], list(message.fds)
        index = job.get("pidfd")
        if len(fds) != 1 + len(job["attach"]) + (index is not None):
            raise InvalidParameter("an exec needs a control socket, and a socket per client")
        pidfd = os.pidfd_open(int(job["init_pid"])) if index is None else os.dup(fds.pop(index))
        try:
            fds = [pidfd, *fds]
            if self._shims.reuse(message.raw, fds) or self._spare.hand_over(message.raw, fds):
                return {}
            protocol.send_raw(self._zygote, message.raw, fds)
        finally:
            os.close(pidfd)
        return {}

    def _work(self, _daemon: Daemon, message: Message) -> "Body":
        if not message.fds:
            raise InvalidParameter("a work needs a control socket")
        work = message.body["work"]
        wires = [*([work["rootfs"]] if work.get("rootfs") else []), *work.get("trees", ())]
        roots: list[int] = []
        try:
            for wire in wires:
                roots.append(mount_rootfs(Rootfs.from_wire(wire), self._layers))
            self._nursery.hand_over(message, roots)
        finally:
            close_all(roots)
        return {}

    def _lend(self, _daemon: Daemon, message: Message) -> "Body":
        """The answer comes by the launcher's socket, the mount by the one that was sent."""
        if not message.fds:
            raise InvalidParameter("a loan needs a socket to send it by")
        root = mount_rootfs(Rootfs.from_wire(message.body["rootfs"]), self._layers)
        sock = _socket.socket(fileno=message.fds.pop(0))
        try:
            protocol.send(sock, {}, [root])
        finally:
            sock.close()
            os.close(root)
        return {}

    def _take_back(self, idle: Daemon, message: Message) -> None:
        crew = self._fitters if message.body.get("role") == FITTER else self._shims
        crew.add(idle.detach())

    def _release_layers(self, _daemon: Daemon, message: Message) -> "Body":
        self._layers.release([str(source) for source in message.body["sources"]])
        return {}

    # Children

    def _lost_zygote(self) -> None:
        complain("the zygote died; a new launcher has to take over")
        self._running = False

    def _reap(self) -> None:
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass
        while True:
            try:
                if not os.waitpid(-1, os.WNOHANG)[0]:
                    return
            except ChildProcessError:
                return


_OPERATIONS: "dict[str, Callable[[Launcher, Daemon, Message], Body | None]]" = {
    "hello": Launcher._hello,
    "warm": Launcher._warm,
    "drop-warm": Launcher._drop_warm,
    "start": Launcher._start,
    "exec": Launcher._exec,
    "work": Launcher._work,
    "lend": Launcher._lend,
    "idle": Launcher._take_back,
    "release-layers": Launcher._release_layers,
    "shutdown": Launcher._shutdown,
}


def complain(text: str) -> None:
    """One line for the launcher's log."""
    print(f"ketch: launcher: {text}", file=sys.stderr, flush=True)
