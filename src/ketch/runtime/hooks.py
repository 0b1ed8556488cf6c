"""OCI hooks, and the gate between ``create`` and ``start`` (config.md, "POSIX-platform Hooks")."""

import os
import select

from ketch.errors import StartFailed
from ketch.linux import fastjson, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def wait_for_start(gate: int) -> None:
    """Block until ``start`` writes a byte to the gate FIFO.

    Failures go to the result FIFO by then (``Channel.report_to``), which is close-on-exec: its end
    without a word tells ``start`` that the program runs.
    """
    if not os.read(gate, 1):
        os._exit(0)
    os.close(gate)


def run(hook: "dict[str, Any]", state: "dict[str, Any]", env: "dict[str, str]") -> None:
    """Run one hook with the container's state on its stdin; raises ``StartFailed``.

    ``env`` is used when the hook names none of its own.
    """
    path = str(hook["path"])
    args = [str(word) for word in hook.get("args") or [path]]
    if hook.get("env") is not None:
        env = dict(str(entry).partition("=")[::2] for entry in hook["env"])
    reader, writer = os.pipe()
    told, telling = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become_hook(path, args, env, reader, telling)
    os.close(reader)
    os.close(telling)
    try:
        os.write(writer, fastjson.dumps(state))
    except BrokenPipeError:
        pass
    finally:
        os.close(writer)
    why_not = os.read(told, 200).decode()  # empty as soon as it is executed
    os.close(told)
    status = _wait(pid, hook.get("timeout"))
    if status != 0:
        raise StartFailed(f"hook {path} failed: {why_not or _words(status)}", 128)


def _become_hook(
    path: str, args: "list[str]", env: "dict[str, str]", stdin: int, telling: int
) -> None:
    try:
        os.dup2(stdin, 0)
        process.close_on_exec_from(3)
        os.execve(path, args, env)
    except OSError as error:
        os.write(telling, f"it cannot be executed: {error.strerror}".encode())
        os._exit(127)


def _wait(pid: int, timeout: "float | None") -> int:
    """The wait status; a hook that takes longer than ``timeout`` seconds is killed."""
    pidfd = process.pidfd_open(pid)
    try:
        ready = select.select([pidfd], [], [], timeout)[0]
        if not ready:
            process.pidfd_send_signal(pidfd, process.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        return status if ready else -1
    finally:
        os.close(pidfd)


def _words(status: int) -> str:
    if status < 0:
        return "it ran out of time"
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code >= 0 else f"killed by signal {-code}"
