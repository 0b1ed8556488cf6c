"""``exec``: a further process in a running container."""

import os

from ketch.errors import Conflict, InvalidParameter, errno_text
from ketch.linux import fastjson
from ketch.runtime import oci_console, oci_shapes, sandbox
from ketch.runtime import oci_state as state
from ketch.runtime.oci_create import forward_signals, start_job, stdio, wait, write_pid
from ketch.runtime.plan import refuse_unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.runtime.oci_flags import Given
    from ketch.runtime.oci_state import Place, Record


def run(place: "Place", given: "Given") -> int:
    """Run it; the exit status of the process, or 0 when detached. Raises KetchError, OSError."""
    record = place.load()
    found = state.status(place, record)
    if found not in ("created", "running"):
        raise Conflict(f"cannot exec in a {found} container")
    process = _process(record, given)
    refuse_unsupported({"process": process})
    job = start_job(process, place, record) | {"process": process, "init_pid": record["pid"]}
    job["user"] = given.values.get("user")
    console_socket, detached = given.value("console-socket"), "detach" in given.on
    oci_console.check(job["terminal"], console_socket, not detached)
    console = oci_console.connect(console_socket) if console_socket else None
    pidfd = state.open_init(record)
    fds = stdio(job["terminal"], given.number("preserve-fds"))
    pid_file = os.path.abspath(given.value("pid-file")) if given.value("pid-file") else ""
    started = sandbox.join(job, pidfd, fds)
    os.close(pidfd)
    if console is not None:
        oci_console.hand_over(console, started.master_fd)
    if pid_file:
        write_pid(pid_file, started.pid)
    if detached:
        return 0
    forward_signals(started.pidfd)
    if job["terminal"] and console is None:
        oci_console.relay(started.master_fd)
    return wait(started)


def _process(record: "Record", given: "Given") -> "dict[str, Any]":
    """The OCI process: of the file, or the container's own with what the flags change."""
    path = given.value("process")
    if path:
        return _read(path)
    if not given.words:
        raise InvalidParameter("exec wants a command, or --process FILE")
    process = dict(record["process"])
    process["args"] = given.words
    process["terminal"] = "tty" in given.on
    process["cwd"] = given.value("cwd") or process.get("cwd") or "/"
    process["env"] = list(process.get("env") or ()) + given.lists.get("env", [])
    process.pop("consoleSize", None)
    return process


def _read(path: str) -> "dict[str, Any]":
    try:
        with open(path, "rb") as file:
            process = fastjson.loads(file.read())
    except OSError as error:
        raise InvalidParameter(f"cannot read {path}: {errno_text(error)}") from None
    except ValueError as error:
        raise InvalidParameter(f"{path} is not JSON: {error}") from None
    if not isinstance(process, dict):
        raise InvalidParameter(f"{path} holds no process object")
    oci_shapes.check(process, oci_shapes.PROCESS, "process")
    return process
