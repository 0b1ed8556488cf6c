"""The supervisor of one process: a container's init (then it is a *shim*), or an exec process.

Life: *starting* → ``started`` | ``failed`` → *running* → *ending* → ``exited`` → *over*.

When the process has ended, the order is: take all output that is left and deliver it, close the
clients that have everything, make ``exit.json`` durable, announce ``exited``, and only then take
the sandbox down (that waits for the kernel). The end of an exec process is announced before its
clients are closed. Two waits are bounded: for others that keep the streams open after the process
is gone (``LINGER``), and for clients that do not take their output (``GRACE``); such clients are
served on after ``exited``.

The supervisor leaves when nobody needs it: no client is attached, and the exit is on record
(``reap``) or no daemon is connected. Neither the daemon's nor the launcher's death touches it.
"""

import os
import sys
import time

from ketch.linux import process, resharing, terminal
from ketch.linux.eventpoll import READ, Loop
from ketch.runtime import exit_file, failures, process_tree
from ketch.runtime.attachments import Attachments
from ketch.runtime.control import Control
from ketch.runtime.output import Output
from ketch.runtime.port_forwards import PortForwards
from ketch.runtime.stdin import Stdin

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

    from ketch.runtime.output import Log
    from ketch.runtime.protocol import Message
    from ketch.runtime.stdio import Stdio

    Body = dict[str, Any]

LINGER = 1.0  # seconds
GRACE = 2.0  # seconds
REST = 0.2  # seconds after the start: what memory is again as it was is given back
LOG_GRACE = 10.0  # seconds for a log's driver to take the last output
_HELPER_PAUSE = 0.02  # seconds
_ORPHANS_PAUSE = 10.0  # seconds


class Running:
    """The process as the supervisor sees it.

    ``cgroup`` is for the ``started`` event; ``oom_killed`` and ``destroy`` are called in this
    order once it has been reaped. ``master`` is the terminal's fd or -1; ``helper`` another child
    to be reaped, or 0.
    """

    __slots__ = ("cgroup", "destroy", "helper", "master", "oom_killed", "pid", "pidfd")

    def __init__(
        self,
        *,
        pid: int,
        pidfd: int,
        master: int = -1,
        cgroup: "dict[str, str] | None" = None,
        oom_killed: "Callable[[], bool]" = bool,
        destroy: "Callable[[], object]" = bool,
        helper: int = 0,
    ) -> None:
        self.helper = helper
        self.pid = pid
        self.pidfd = pidfd
        self.master = master
        self.cgroup = cgroup or {}
        self.oom_killed = oom_killed
        self.destroy = destroy


class Supervisor:
    """See the module's docstring. ``job`` is START or EXEC."""

    def __init__(self, job: "Body", control: "_socket.socket") -> None:
        self._job = job
        self.loop = self._loop = Loop()
        self._terminal = bool(job["terminal"])
        self._is_exec = "log" not in job  # nobody asks for its end but a daemon
        self._control = Control(self._loop, self._handle)
        self._control.add(control)
        self._clients = Attachments(self._loop, self._terminal, self._detached)
        self._forwards = PortForwards(self._loop)
        self._running: Running | None = None
        self._started_at = 0
        self._exit: Body | None = None
        self._exited_at = 0.0
        self._announced = False
        self._reaped = False
        self._condemned = False  # its client has gone, and it was to die with it

    def listen(self, listener: "_socket.socket") -> None:
        """Be found by daemons to come, at the job's socket."""
        self._control.listen(listener, self._job["socket"])

    def fail_with(self, error: BaseException, destroy: "Callable[[], object]" = bool) -> None:
        """``fail`` for an exception."""
        self.fail(failures.to_wire(error)["error"], getattr(error, "exit_code", 128), destroy)

    def fail(self, text: str, code: int, destroy: "Callable[[], object]" = bool) -> None:
        """The process could not be started: say so and clean up; then everything is over."""
        self._control.announce({"event": "failed", "error": text, "code": code})
        destroy()
        self._control.close()

    def run(
        self, running: Running, stdio: "Stdio", log: "Log | None", clients: "list[int]"
    ) -> None:
        """Supervise to the end; ``clients`` are the sockets that came with the job."""
        self._running = running
        self._started_at = time.time_ns()
        self._connect(stdio, log)
        self._clients.add_first(clients, self._job["attach"])
        self._control.announce(self._started())
        self._loop.watch(running.pidfd, READ, self._ended)
        self._forget_helper()
        if self._job.get("runtime"):
            self._reap_orphans()
        self._loop.at(time.monotonic() + REST, resharing.give_back)
        while not self._over():
            self._loop.turn()
            if self._exit is not None and not self._announced:
                self._settle()
        if self._is_exec and not self._reaped:
            self._leave_exit()
        self._control.close()

    def _connect(self, stdio: "Stdio", log: "Log | None") -> None:
        """Put the pumps between process and clients."""
        assert self._running is not None
        job, master = self._job, self._running.master
        self._output = self._clients.output = Output(self._loop, log, self._clients)
        self._stdin = Stdin(self._loop, stdio.into, self._clients.refresh_all)
        self._clients.stdin = self._stdin
        self._clients.close_stdin_with_client = bool(job.get("stdin_once", True))
        if job.get("die_with_client") is not None:
            self._clients.on_deserted = self._deserted
        if not self._terminal:
            self._output.add_source(stdio.out, 1, True)
            self._output.add_source(stdio.err, 2, True)
            return
        os.set_blocking(master, False)
        self._output.add_source(master, 1, False)
        if job["stdin"]:
            self._stdin.share_terminal(master)

    def _forget_helper(self) -> None:
        """Reap the process that made the sandbox, which is about to leave."""
        assert self._running is not None
        if self._running.helper and not os.waitpid(self._running.helper, os.WNOHANG)[0]:
            self._loop.at(time.monotonic() + _HELPER_PAUSE, self._forget_helper)
        else:
            self._running.helper = 0

    def _reap_orphans(self) -> None:
        """A subreaper gets the orphans of a container without a PID namespace of its own."""
        assert self._running is not None
        ours = (self._running.pid, self._running.helper)
        while (found := _ended_child()) and found not in ours:
            os.waitpid(found, os.WNOHANG)
        self._loop.at(time.monotonic() + _ORPHANS_PAUSE, self._reap_orphans)

    def _started(self) -> "Body":
        assert self._running is not None
        return {
            "event": "started",
            "pid": self._running.pid,
            "started_at": self._started_at,
            "cgroup": self._running.cgroup,
        }

    def _deserted(self) -> None:
        """The client is gone that the process was to die with: TERM, and KILL after a while."""
        if self._exit is not None or self._running is None:
            return
        self._condemned = True
        patience = float(self._job["die_with_client"])
        if patience <= 0:
            self._kill_all()
            return
        self._loop.at(time.monotonic() + patience, self._kill_all)
        try:
            process.pidfd_send_signal(self._running.pidfd, process.SIGTERM)
        except OSError:
            pass  # it has ended by itself at this moment

    def _kill_all(self) -> None:
        """SIGKILL to the process and what it has started."""
        assert self._running is not None
        process_tree.kill_tree(self._running.pid)

    # The end

    def _ended(self, _events: int) -> None:
        """The process is a zombie: reap it and take its last words."""
        assert self._running is not None
        self._loop.forget(self._running.pidfd)
        self._forwards.close()  # before anybody learns of the end, and wants the ports
        self._exit = {**reap(self._running.pid), "oom": self._running.oom_killed()}
        self._exit["at"] = time.time_ns()
        self._exited_at = time.monotonic()
        if self._condemned:
            self._kill_all()
        self._output.drain()
        self._stdin.close()
        self._clients.refresh_all()
        self._loop.at(self._exited_at + LINGER, self._abandon)
        self._loop.at(self._exited_at + GRACE, bool)  # wake up to settle

    def _abandon(self) -> None:
        """Others hold the process's streams open: what they still write is not its output."""
        if self._output.ended:
            return
        self._output.drain()
        if self._output.held:
            self._loop.at(time.monotonic() + LINGER, self._abandon)
        else:
            self._output.abandon()

    def _settle(self) -> None:
        """Announce the exit, as soon as the output is delivered or has had its time."""
        if self._output.ended:
            self._output.close_log()
        delivered = self._output.ended and self._clients.idle and not self._output.log_pending
        if not delivered and time.monotonic() < self._exited_at + GRACE:
            return
        self._announced = True
        exited = {"event": "exited", **(self._exit or {})}
        if self._is_exec:  # its client asks for the exit code as soon as the stream ends
            self._control.announce(exited)
        if self._output.ended:
            self._clients.close_idle()
        if not self._is_exec:
            self._record_exit()
            self._control.announce(exited)
        self._destroy()

    def _record_exit(self) -> None:
        try:
            exit_file.write(self._job["bundle"], self._exit or {}, self._job["durable"])
        except OSError as error:
            complain(f"the exit of {self._job['id']} cannot be recorded: {error}")
            return
        # Whoever comes now reads the file, and the container may be started anew at once.
        self._control.stop_listening()

    def _leave_exit(self) -> None:
        try:
            exit_file.leave(self._job["socket"], self._exit or {})
        except OSError as error:
            complain(f"the exit of {self._job['id']} cannot be kept: {error}")

    def _destroy(self) -> None:
        assert self._running is not None
        try:
            self._running.destroy()
        except OSError as error:
            complain(f"the sandbox of {self._job['id']} cannot be removed: {error}")
        os.close(self._running.pidfd)

    def _over(self) -> bool:
        if not self._announced:
            return False
        if self._output.ended:
            self._output.close_log()
            self._clients.close_idle()
        if len(self._clients) or not self._output.ended or self._waits_for_log():
            return False
        return self._reaped or not self._control.connected

    def _waits_for_log(self) -> bool:
        if not self._output.log_pending:
            return False
        if time.monotonic() < self._exited_at + LOG_GRACE:
            self._loop.at(self._exited_at + LOG_GRACE, bool)  # wake up
            return True
        self._output.abandon_log()
        return False

    # Requests

    def _detached(self) -> None:
        self._control.announce({"event": "detached"}, keep=False)

    def _handle(self, message: "Message") -> "Body | None":
        body = message.body
        handler = _REQUESTS.get(str(body["op"]))
        if handler is None:
            raise ValueError(f"unknown operation {body['op']!r}")
        return handler(self, message)

    def _attach(self, message: "Message") -> None:
        if self._exit is not None:
            raise ProcessLookupError(3, "the process has ended")
        if len(message.fds) != 1:
            raise ValueError("attach takes one file descriptor")
        attach = message.body["attach"]
        self._clients.add(message.fds.pop(), attach)

    def _resize(self, message: "Message") -> None:
        if not self._terminal:
            raise ValueError("the process has no terminal")
        if self._running is None or self._output.ended:
            return
        height, width = int(message.body["height"]), int(message.body["width"])
        terminal.set_window(self._running.master, height, width)

    def _signal(self, message: "Message") -> None:
        if self._exit is not None or self._running is None:
            raise ProcessLookupError(3, "the process has ended")
        if message.body.get("tree"):
            self._kill_all()
        else:
            process.pidfd_send_signal(self._running.pidfd, int(message.body["signal"]))

    def _close_stdin(self, _message: "Message") -> None:
        self._stdin.close()
        self._clients.refresh_all()

    def _state(self, _message: "Message") -> "Body":
        return {**self._started(), "event": "answer", "exit": self._exit,
                "clients": len(self._clients), "forwards": self._forwards.targets()}  # fmt: skip

    def _forward(self, message: "Message") -> None:
        if self._exit is not None or self._running is None:
            raise ProcessLookupError(3, "the process has ended")
        for forward in message.body["forwards"]:
            self._forwards.add(forward, message.fds.pop(0))

    def _aim(self, message: "Message") -> None:
        for forward in message.body["forwards"]:
            self._forwards.aim(forward)

    def _unforward(self, message: "Message") -> None:
        for name in message.body["names"]:
            self._forwards.remove(name)

    def _reap(self, _message: "Message") -> None:
        self._reaped = True


_REQUESTS: "dict[str, Callable[[Supervisor, Message], Body | None]]" = {
    "attach": Supervisor._attach,
    "resize": Supervisor._resize,
    "signal": Supervisor._signal,
    "close-stdin": Supervisor._close_stdin,
    "state": Supervisor._state,
    "reap": Supervisor._reap,
    "forward": Supervisor._forward,
    "aim": Supervisor._aim,
    "unforward": Supervisor._unforward,
}


def reap(pid: int) -> "Body":
    """``{"status", "signal"}`` of a child that has ended (128 + n for signal n)."""
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return {"status": 255, "signal": 0}  # reaped by somebody else: no one can know
    if os.WIFSIGNALED(status):
        return {"status": 128 + os.WTERMSIG(status), "signal": os.WTERMSIG(status)}
    return {"status": os.WEXITSTATUS(status), "signal": 0}


def _ended_child() -> int:
    """A child that has ended, left as it is; 0 when there is none."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return found.si_pid if found is not None else 0


def complain(text: str) -> None:
    """One line for the launcher's log."""
    print(f"ketch: {text}", file=sys.stderr, flush=True)
