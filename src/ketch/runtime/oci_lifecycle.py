"""``start``, ``kill``, ``delete``, ``pause``, ``resume``, ``update``: commands on what exists."""

import os
import select

from ketch.errors import Conflict, InvalidParameter, KetchError, StartFailed, errno_text
from ketch.linux import fastjson, process
from ketch.runtime import oci_shapes
from ketch.runtime import oci_state as state
from ketch.runtime.oci_hooks import run_hooks
from ketch.runtime.oci_signals import number_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.runtime.oci_log import Log
    from ketch.runtime.oci_state import Place, Record

_PATIENCE = 10.0  # seconds for the init to die of SIGKILL


def start(place: "Place", log: "Log") -> None:
    """Let the init execute its program; raises ``StartFailed`` when that fails."""
    lock = place.lock()
    try:
        record = place.load()
        found = state.status(place, record)
        if found != "created":
            raise Conflict(f"cannot start a container that has {_words(found)}")
        _open_gate(place)
        run_hooks(record, "poststart", state.view(place, record), log)
    finally:
        os.close(lock)


def _words(status: str) -> str:
    return "stopped" if status == "stopped" else f"the status {status}"


def _open_gate(place: "Place") -> None:
    result = os.open(place.file(state.RESULT), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(result, True)
    try:
        try:
            gate = os.open(place.file(state.GATE), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            raise Conflict("container not running") from None
        os.write(gate, b"s")
        os.close(gate)
        answer = _read_all(result)
    finally:
        os.close(result)
    if answer:
        _, (message, code) = fastjson.loads(answer)
        raise StartFailed(message, code)


def _read_all(fd: int) -> bytes:
    """Everything until the end, which execve(2) or the death of the init brings."""
    chunks = []
    while chunk := os.read(fd, 65536):
        chunks.append(chunk)
    return b"".join(chunks)


def kill(place: "Place", signal: str, everyone: bool) -> None:
    """Send a signal to the init, or to all processes; raises ``Conflict`` when it does not live."""
    record = place.load()
    number = number_of(signal)
    if everyone:
        for pid in state.cgroup_of(record).pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        return
    pidfd = state.open_init(record)
    try:
        process.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        raise Conflict("container not running") from None
    finally:
        os.close(pidfd)


def delete(place: "Place", force: bool, log: "Log") -> None:
    """Remove a stopped or created container, with ``force`` any; missing ones count as removed."""
    try:
        lock = place.lock()
        try:
            _delete(place, force, log)
        finally:
            os.close(lock)
    except KetchError as error:
        if not (force and error.message == place.missing().message):
            raise
        if os.path.isdir(place.path):
            place.remove()


def _delete(place: "Place", force: bool, log: "Log") -> None:
    record = place.load()
    found = state.status(place, record)
    if found not in ("stopped", "created", "creating") and not force:
        raise Conflict(f"cannot delete container {place.id} that is not stopped: {found}")
    kill_init(record)
    cgroup = state.cgroup_of(record)
    cgroup.kill()
    cgroup.remove()
    record["pid"] = 0
    run_hooks(record, "poststop", {**state.view(place, record), "status": "stopped"}, log)
    place.remove()


def kill_init(record: "Record") -> None:
    """SIGKILL, and wait until it is dead (its parent may still have to reap it)."""
    try:
        pidfd = state.open_init(record)
    except Conflict:
        return
    try:
        process.pidfd_send_signal(pidfd, process.SIGKILL)
        state.cgroup_of(record).kill()  # thaws a paused one, so that it can die
        if not select.select([pidfd], [], [], _PATIENCE)[0]:
            raise Conflict(f"the init {record['pid']} does not die")
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)


def freeze(place: "Place", frozen: bool) -> None:
    """Pause or resume; raises ``Conflict`` when the container is in no state for it."""
    lock = place.lock()
    try:
        record = place.load()
        found = state.status(place, record)
        if found not in (("running", "created") if frozen else ("paused",)):
            raise Conflict(f"cannot {'pause' if frozen else 'resume'} a {found} container")
        state.cgroup_of(record).freeze(frozen)
    finally:
        os.close(lock)


def update(place: "Place", file: str) -> None:
    """Apply an OCI ``linux.resources`` object from a file, or stdin for ``-``."""
    lock = place.lock()
    try:
        record = place.load()
        if state.status(place, record) == "stopped":
            raise Conflict("container not running")
        text = _read_all(0) if file == "-" else _read_file(file)
        try:
            wanted = fastjson.loads(text)
        except ValueError as error:
            raise InvalidParameter(f"{file} is not JSON: {error}") from None
        oci_shapes.check(wanted, oci_shapes.RESOURCES, "resources")
        state.cgroup_of(record).apply(wanted)
    finally:
        os.close(lock)


def _read_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InvalidParameter(f"cannot read {path}: {errno_text(error)}") from None
