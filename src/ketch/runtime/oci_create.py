"""``create`` and ``run``: a bundle becomes a container that outlives the command."""

import os
import time

from ketch.errors import Conflict
from ketch.linux.process import pidfd_send_signal, start_time
from ketch.runtime import oci_bundle, oci_console, oci_seccomp, sandbox
from ketch.runtime import oci_state as state
from ketch.runtime.oci_hooks import run_hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.runtime.oci_log import Log
    from ketch.runtime.oci_state import Place, Record
    from ketch.runtime.sandbox import Sandbox, Started


class Order:
    """What ``create`` or ``run`` was asked for; paths are absolute.

    ``waits``: the program is not executed before ``start``. ``inherits``: how many fds from 3 up
    the program gets. ``relays``: without console socket, the caller's own terminal is used.
    """

    __slots__ = ("bundle", "console_socket", "inherits", "keyring", "pid_file", "relays", "waits")

    def __init__(self, bundle: str, waits: bool) -> None:
        self.bundle = bundle
        self.waits = waits
        self.console_socket = self.pid_file = ""
        self.inherits = 0
        self.keyring = True
        self.relays = False


def create(place: "Place", order: Order, log: "Log") -> "Started":
    """Make the container; raises KetchError or OSError and then leaves nothing behind."""
    os.chdir(order.bundle)  # relative sources of binds are below it (config.md, "Mounts")
    spec = oci_bundle.load(order.bundle)
    terminal = bool(spec["process"].get("terminal"))
    oci_console.check(terminal, order.console_socket, order.relays)
    record = _new_record(place, order.bundle, spec)
    lock = place.claim()
    box: Sandbox | None = None
    try:
        place.save(record)
        oci_seccomp.install(spec["linux"].get("seccomp"), place)
        spec["linux"]["resources"] = oci_bundle.resources(spec)
        _refuse_used(record)
        console = oci_console.connect(order.console_socket) if order.console_socket else None
        box = sandbox.prepare(_warm(place, spec, record, order))
        _note_init(place, record, box)
        started = _launch(place, box, (spec, record), order)
        if console is not None:
            oci_console.hand_over(console, started.master_fd)
        if order.pid_file:
            write_pid(order.pid_file, started.pid)
        record["phase"] = "created"
        place.save(record)
    except BaseException:
        _undo(place, box, record, log)
        raise
    finally:
        os.close(lock)
    return started


def _new_record(place: "Place", bundle: str, spec: "dict[str, Any]") -> "Record":
    now = time.time_ns()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
    return {
        "id": place.id,
        "ociVersion": str(spec["ociVersion"]),
        "bundle": bundle,
        "rootfs": oci_bundle.root_path(bundle, spec),
        "annotations": dict(spec.get("annotations") or {}),
        "created": f"{stamp}.{now % 10**9:09d}Z",
        "owner": "root" if os.getuid() == 0 else str(os.getuid()),
        "cgroup": oci_bundle.cgroup_path(spec, place.id),
        "process": spec["process"],
        "seccomp_flags": oci_seccomp.flags_of(spec["linux"].get("seccomp")),
        "hooks": dict(spec.get("hooks") or {}),
        "phase": "creating",
        "pid": 0,
        "start_time": 0,
    }


def _refuse_used(record: "Record") -> None:
    """A cgroup with processes of others would be killed together with the container."""
    cgroup = state.cgroup_of(record)
    if cgroup.pids():
        raise Conflict(f"the cgroup /{cgroup.parent}/{cgroup.name} is not empty")


def _warm(
    place: "Place", spec: "dict[str, Any]", record: "Record", order: Order
) -> "dict[str, Any]":
    linux = spec["linux"]
    parent, name = record["cgroup"]
    return {
        "id": place.id,
        "cgroup": {"parent": parent, "name": name},
        "link": None,
        "namespaces": linux.get("namespaces") or [],
        "uid_mappings": linux.get("uidMappings") or [],
        "gid_mappings": linux.get("gidMappings") or [],
        "keyring": order.keyring,
    }


def _note_init(place: "Place", record: "Record", box: "Sandbox") -> None:
    record["pid"] = box.pid
    record["start_time"] = start_time(box.pid)
    place.save(record)


def _launch(
    place: "Place", box: "Sandbox", what: "tuple[dict[str, Any], Record]", order: Order
) -> "Started":
    """Hand the parked init its plan; hooks of the runtime's namespaces run before the pivot."""
    spec, record = what
    start = start_job(spec["process"], place, record)
    start |= {"spec": spec, "cgroup": {"name": record["cgroup"][1]}}
    start["make_cwd"] = True  # as other runtimes do, and engines rely on it

    def before_pivot() -> None:
        for kind in ("prestart", "createRuntime"):
            run_hooks(record, kind, state.view(place, record))

    gate = _open_gate(place) if order.waits else []
    root_fd = oci_bundle.open_root(record["rootfs"])
    try:
        return box.launch(
            start,
            root_fd,
            stdio(start["terminal"], order.inherits),
            gate=gate,
            before_pivot=before_pivot,
            hook_state={**state.view(place, record), "status": "created"},
        )
    finally:
        for fd in [root_fd, *gate]:
            os.close(fd)


def start_job(process: "dict[str, Any]", place: "Place", record: "Record") -> "dict[str, Any]":
    """What START and EXEC of the launcher protocol have in common, for a process of a bundle."""
    size = process.get("consoleSize") or {}
    has_filter = os.path.exists(place.file(state.FILTER))
    return {
        "terminal": bool(process.get("terminal")),
        "console": [int(size.get("height") or 0), int(size.get("width") or 0)],
        "user": None,
        "seccomp": place.file(state.FILTER) if has_filter else "",
        "seccomp_flags": record["seccomp_flags"],
        "parent_death_signal": 0,
    }


def stdio(terminal: bool, inherits: int) -> "list[int]":
    """The fds that a process gets: ours, or a terminal; and those to be preserved."""
    extra = range(3, 3 + inherits)
    for fd in extra:
        os.fstat(fd)
    return ([-1, -1, -1] if terminal else [0, 1, 2]) + list(extra)


def _open_gate(place: "Place") -> "list[int]":
    """[gate, result] for the child: it holds the gate's both ends, so that reading waits."""
    for name in (state.GATE, state.RESULT):
        os.mkfifo(place.file(name), 0o600)
    gate = os.open(place.file(state.GATE), os.O_RDWR | os.O_CLOEXEC)
    both = os.open(place.file(state.RESULT), os.O_RDWR | os.O_CLOEXEC)
    result = os.open(place.file(state.RESULT), os.O_WRONLY | os.O_CLOEXEC)
    os.close(both)
    return [gate, result]


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def write_pid(path: str, pid: int) -> None:
    """Write a pid file by rename(2), so that a watcher never reads half a number."""
    folder, name = os.path.split(path)
    _write(f"{folder}/.{name}", str(pid).encode())
    os.rename(f"{folder}/.{name}", path)


def _undo(place: "Place", box: "Sandbox | None", record: "Record", log: "Log") -> None:
    if box is not None:
        box.destroy()
        record["pid"] = 0
        stopped = {**state.view(place, record), "status": "stopped"}
        run_hooks(record, "poststop", stopped, log)
    place.remove()


def wait(started: "Started") -> int:
    """The exit status of the init as a shell gives it (128 + n for signal n)."""
    _, status = os.waitpid(started.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def forward_signals(pidfd: int) -> None:
    """Pass the signals that end or steer a command on to the process behind ``pidfd``."""
    import _signal  # type: ignore[import-not-found]

    def forward(number: int, frame: object) -> None:
        try:
            pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return

    for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGCONT"):
        _signal.signal(getattr(_signal, name), forward)
