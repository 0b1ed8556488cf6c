"""What ``ketch-runtime`` remembers of a container between commands: ``<root>/<id>/state.json``.

The directory is claimed by mkdir(2) and guarded by flock(2) while a command changes the container.
``status`` is never stored: it is read off the kernel, so that it is right after any crash.
"""

import errno
import fcntl
import os

from ketch.errors import Conflict, InvalidParameter, NotFound
from ketch.linux import fastjson, process
from ketch.runtime.cgroups import files
from ketch.runtime.cgroups.group import Cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]

OCI_VERSION = "1.2.0"
GATE, RESULT, STATE, FILTER = "exec.fifo", "result.fifo", "state.json", "seccomp.bpf"
_ID_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")


def check_id(id: str) -> str:
    """``id`` when it can name a directory; raises ``InvalidParameter``."""
    if not id or id in (".", "..") or len(id) > 255 or not _ID_LETTERS.issuperset(id):
        raise InvalidParameter(f'invalid container ID format: "{id}"')
    return id


class Place:
    """A container's state directory."""

    __slots__ = ("id", "path")

    def __init__(self, root: str, id: str) -> None:
        self.id = check_id(id)
        self.path = f"{root}/{id}"

    def file(self, name: str) -> str:
        """A path in the directory."""
        return f"{self.path}/{name}"

    def claim(self) -> int:
        """Make the directory and lock it; raises ``Conflict`` when the ID is taken."""
        os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
        try:
            os.mkdir(self.path, 0o700)
        except FileExistsError:
            raise Conflict("container with given ID already exists") from None
        return self.lock()

    def lock(self, wait: bool = True) -> int:
        """The locked directory as fd; raises ``NotFound``, or BlockingIOError without ``wait``."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            raise self.missing() from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def missing(self) -> NotFound:
        """The error for an ID that nobody has."""
        return NotFound(f'container "{self.id}" does not exist')

    def save(self, record: "Record") -> None:
        """Replace the record by rename(2)."""
        fd = os.open(self.file(STATE + ".new"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(fastjson.dumps(record))
        os.rename(self.file(STATE + ".new"), self.file(STATE))

    def load(self) -> "Record":
        """The record; raises ``NotFound``."""
        try:
            with open(self.file(STATE), "rb") as file:
                record = fastjson.loads(file.read())
        except (OSError, ValueError):
            raise self.missing() from None
        if not isinstance(record, dict):
            raise self.missing()
        return record

    def remove(self) -> None:
        """Remove the directory, the record last; what is gone already is no error."""
        for name in (GATE, RESULT, FILTER, STATE + ".new", STATE):
            try:
                os.unlink(self.file(name))
            except FileNotFoundError:
                continue
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            return


def cgroup_of(record: "Record") -> Cgroup:
    """The container's cgroup."""
    return Cgroup(*record["cgroup"])


def is_alive(record: "Record") -> bool:
    """Whether the container's init lives."""
    pid = int(record["pid"])
    return process.is_alive(pid, record["start_time"])


def open_init(record: "Record") -> int:
    """The init as pidfd; raises ``Conflict`` when it does not live."""
    if is_alive(record):
        try:
            pidfd = process.pidfd_open(int(record["pid"]))
        except OSError:
            raise Conflict("container not running") from None
        if is_alive(record):
            return pidfd
        os.close(pidfd)
    raise Conflict("container not running")


def status(place: Place, record: "Record") -> str:
    """``creating``, ``created``, ``running``, ``paused`` or ``stopped``."""
    if not is_alive(record):
        return "creating" if not record["pid"] and _is_locked(place) else "stopped"
    if record["phase"] == "creating":
        return "creating"
    if _is_waiting(place):
        return "created"
    return "paused" if is_frozen(cgroup_of(record)) else "running"


def _is_locked(place: Place) -> bool:
    try:
        os.close(place.lock(wait=False))
    except BlockingIOError:
        return True
    except NotFound:
        return False
    return False


def _is_waiting(place: Place) -> bool:
    """Whether the init still reads the gate; it closes it when ``start`` has spoken."""
    try:
        os.close(os.open(place.file(GATE), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return False
        raise
    return True


def is_frozen(cgroup: Cgroup) -> bool:
    """Whether the processes inside are paused."""
    found = cgroup.directory_of("freezer")
    try:
        if found:
            return files.read(found[1], "freezer.state") != "THAWED"
        unified = cgroup.describe().get("unified")
        return bool(unified) and files.read_keyed(str(unified), "cgroup.events", "frozen") == 1
    except OSError:
        return False


def view(place: Place, record: "Record") -> "Record":
    """The state of the runtime specification (runtime.md, "State"); hooks get the same."""
    state = status(place, record)
    return {
        "ociVersion": record["ociVersion"],
        "id": place.id,
        "pid": 0 if state == "stopped" else record["pid"],
        "status": state,
        "bundle": record["bundle"],
        "rootfs": record["rootfs"],
        "created": record["created"],
        "annotations": record["annotations"],
        "owner": record["owner"],
    }
