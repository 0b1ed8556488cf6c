"""``Cgroup``: one container's directory in every mounted hierarchy.

Everything is made below ``parent``; nothing above or beside it is changed, but for delegation on
cgroup v2, where controllers must be handed down from the root (``cgroup.subtree_control``).

Joining costs nothing on purpose: the first write to ``cgroup.procs`` waits for an RCU grace period
(8-17 ms), but a single-threaded process that writes ``0`` to a v1 ``tasks`` file moves itself
without that lock (kernel/cgroup/cgroup.c, cgroup_procs_write_start), and on v2 the process is
born inside (``CLONE_INTO_CGROUP``).
"""

import os
import time

from ketch.errors import InvalidParameter, Unsupported
from ketch.linux.descriptors import close_all
from ketch.linux.process import SIGKILL
from ketch.runtime.cgroups import device_program, devices, files, v1, v2
from ketch.runtime.cgroups.hierarchy import Hierarchy, detect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def check_path(parent: str, name: str) -> "tuple[str, str]":
    """``parent`` without its slashes and ``name``; raises ``InvalidParameter``."""
    parts = [part for part in parent.split("/") if part]
    if ".." in parts or "." in parts or "\0" in parent or not parts:
        raise InvalidParameter(f"cgroup parent {parent!r} is not an absolute path below the root")
    if not name or "/" in name or name in (".", "..") or "\0" in name:
        raise InvalidParameter(f"cgroup name {name!r} is not a single name")
    return "/".join(parts), name


class Cgroup:
    """See the module's docstring. ``parent`` is like ``/ketch``, ``name`` a single name."""

    def __init__(
        self, parent: str, name: str, hierarchies: "tuple[Hierarchy, ...] | None" = None
    ) -> None:
        self.parent, self.name = check_path(parent, name)
        self.hierarchies = detect() if hierarchies is None else hierarchies
        self._born = name

    def to_wire(self) -> "dict[str, Any]":
        """The dictionary that crosses a socket."""
        trees = [[tree.version, tree.mount, list(tree.controllers)] for tree in self.hierarchies]
        return {"parent": self.parent, "name": self.name, "born": self._born, "hierarchies": trees}

    @classmethod
    def from_wire(cls, wire: "dict[str, Any]") -> "Cgroup":
        """Rebuild from ``to_wire``; reads nothing from the kernel."""
        trees = tuple(
            Hierarchy(version, mount, tuple(controllers))
            for version, mount, controllers in wire["hierarchies"]
        )
        cgroup = cls(wire["parent"], wire["name"], trees)
        cgroup._born = wire["born"]
        return cgroup

    def directory(self, hierarchy: "Hierarchy") -> str:
        """Where this cgroup is in ``hierarchy``."""
        name = self.name if hierarchy.version == 1 else self._born
        return f"{hierarchy.mount}/{self.parent}/{name}"

    def directory_of(self, controller: str) -> "tuple[int, str] | None":
        """(version, directory) for a controller's name; None when no hierarchy has it."""
        for hierarchy in self.hierarchies:
            if controller in hierarchy.controllers:
                return hierarchy.version, self.directory(hierarchy)
        return None

    def describe(self) -> "dict[str, str]":
        """{controller: directory}; the v2 hierarchy is ``unified`` besides."""
        described: dict[str, str] = {}
        for hierarchy in self.hierarchies:
            for controller in hierarchy.controllers:
                described[controller] = self.directory(hierarchy)
            if hierarchy.version == 2:
                described["unified"] = self.directory(hierarchy)
        return described

    def create(self) -> None:
        """Make the directories, and the parents that are missing; existing ones are kept."""
        for hierarchy in self.hierarchies:
            directory = self.directory(hierarchy)
            _make(directory)
            if hierarchy.version == 1 and "cpuset" in hierarchy.controllers:
                v1.inherit_cpuset(directory)
            if hierarchy.version == 2 and hierarchy.controllers:
                v2.enable_controllers(hierarchy.mount, self.parent)

    def open_doors(self) -> "tuple[list[int], int]":
        """Fds of the v1 ``tasks`` files (to write ``0`` to), and of the v2 directory or -1."""
        tasks: list[int] = []
        unified = -1
        try:
            for hierarchy in self.hierarchies:
                directory = self.directory(hierarchy)
                if hierarchy.version == 2:
                    unified = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                else:
                    tasks.append(os.open(directory + "/tasks", os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            close_all([*tasks, *((unified,) if unified >= 0 else ())])
            raise
        return tasks, unified

    def rename(self, name: str) -> None:
        """Take another name under the same parent; v2 directories keep theirs (no rename there)."""
        check_path(self.parent, name)
        for hierarchy in self.hierarchies:
            if hierarchy.version == 1:
                old = self.directory(hierarchy)
                os.rename(old, f"{hierarchy.mount}/{self.parent}/{name}")
        self.name = name

    def renamed(self, name: str) -> None:
        """Somebody else has renamed it."""
        self.name = check_path(self.parent, name)[1]

    def apply(self, resources: "dict[str, Any]") -> None:
        """Set what OCI ``linux.resources`` asks for; raises ``Unsupported`` naming the option."""
        rules = resources.get("devices")
        if rules:
            self.apply_devices(rules)
        pure_v2 = all(hierarchy.version == 2 for hierarchy in self.hierarchies)
        if pure_v2:
            v2.apply(self.directory(self.hierarchies[0]), resources)
            return
        if resources.get("unified"):
            raise Unsupported("resources.unified needs a machine with cgroup v2 alone")
        self._apply_v1(resources)

    def apply_devices(self, rules: "list[dict[str, Any]]") -> None:
        """Device rules: by files on v1, by an eBPF program on v2."""
        found = self.directory_of("devices")
        if found:
            devices.apply_v1(found[1], rules)
            return
        for hierarchy in self.hierarchies:
            if hierarchy.version == 2:
                device_program.attach(self.directory(hierarchy), rules)
                return
        raise Unsupported("device rules need the devices controller or cgroup v2")

    def _apply_v1(self, resources: "dict[str, Any]") -> None:
        for (section, key), (controller, name) in v1.PLAIN.items():
            value = (resources.get(section) or {}).get(key)
            if value not in (None, 0, ""):
                directory = self._need(controller, f"{section}.{key}")
                files.set_limit(directory, name, str(value), f"{section}.{key}")
        memory, block = resources.get("memory") or {}, resources.get("blockIO") or {}
        if memory.keys() & v1.MEMORY:
            v1.apply_memory(self._need("memory", "memory.limit"), memory)
        if any(block.values()):
            v1.apply_block_io(self._need("blkio", "blockIO"), block)
        limit = (resources.get("pids") or {}).get("limit")
        if limit:
            value = str(limit) if limit > 0 else "max"
            files.set_limit(self._need("pids", "pids.limit"), "pids.max", value, "pids.limit")
        for page in resources.get("hugepageLimits") or ():
            directory = self._need("hugetlb", "hugepageLimits")
            name = f"hugetlb.{page['pageSize']}.limit_in_bytes"
            files.set_limit(directory, name, str(page["limit"]), "hugepageLimits")

    def _need(self, controller: str, option: str) -> str:
        found = self.directory_of(controller)
        if found is None or found[0] != 1:
            raise Unsupported(f"{option} needs the {controller} controller, which is not mounted")
        return found[1]

    def pids(self) -> "list[int]":
        """All processes inside, nested cgroups included, as the caller's pid namespace has them."""
        present = (self.directory(hierarchy) for hierarchy in self.hierarchies)
        found: set[int] = set()
        for directory in descendants_of(next(filter(os.path.isdir, present), "")):
            try:
                found.update(int(line) for line in files.read(directory, "cgroup.procs").split())
            except OSError:
                continue
        return sorted(found)

    def oom_kills(self) -> int:
        """How many processes inside the kernel killed for want of memory."""
        found = self.directory_of("memory")
        if found is None:
            return 0
        return v1.oom_kills(found[1]) if found[0] == 1 else v2.oom_kills(found[1])

    def freeze(self, frozen: bool = True) -> None:
        """Stop (or let go on) every process; raises ``Unsupported`` or TimeoutError."""
        found = self.directory_of("freezer")
        if found:
            v1.freeze(found[1], frozen)
            return
        for hierarchy in self.hierarchies:
            if hierarchy.version == 2:
                v2.freeze(self.directory(hierarchy), frozen)
                return
        raise Unsupported("pausing needs the freezer controller or cgroup v2")

    def is_frozen(self) -> bool:
        """Whether ``freeze`` was asked for last; raises OSError when the group is gone."""
        found = self.directory_of("freezer")
        if found:
            return files.read(found[1], "freezer.state").strip() != "THAWED"
        return any(
            files.read(self.directory(one), "cgroup.freeze").strip() == "1"
            for one in self.hierarchies
            if one.version == 2
        )

    def kill(self) -> None:
        """SIGKILL to every process inside; a frozen group is thawed so that it can die."""
        for hierarchy in self.hierarchies:
            if hierarchy.version == 2:
                try:
                    files.write(self.directory(hierarchy), "cgroup.kill", "1")
                except OSError:
                    continue  # before Linux 5.14, or gone
        for pid in self.pids():
            try:
                os.kill(pid, SIGKILL)
            except ProcessLookupError:
                continue
        found = self.directory_of("freezer")
        if found:
            try:
                v1.freeze(found[1], False)
            except OSError:
                pass

    def destroy(self) -> None:
        """Kill every process inside and remove the directories; raises OSError if that fails."""
        if self.remove_empty():
            return  # the usual case: whoever was inside has gone
        self.kill()
        self.remove()

    def remove_empty(self) -> bool:
        """Remove directories until one is not empty; whether all are gone."""
        for hierarchy in self.hierarchies:
            try:
                os.rmdir(self.directory(hierarchy))
            except FileNotFoundError:
                continue
            except OSError:
                return False
        return True

    def remove(self, timeout: float = 2.0) -> None:
        """Remove the directories, retrying while the dying leave; raises OSError (EBUSY) if not."""
        deadline = time.monotonic() + timeout
        for hierarchy in self.hierarchies:
            for directory in descendants_of(self.directory(hierarchy)):
                _remove(directory, deadline)


def remove_directories(directories: "Iterable[str]", timeout: float = 2.0) -> None:
    """Remove groups known by their directories, with what is below them; raises OSError (EBUSY)."""
    deadline = time.monotonic() + timeout
    for top in directories:
        for directory in descendants_of(top):
            _remove(directory, deadline)


def descendants_of(directory: str) -> "list[str]":
    """``directory`` and what is below it, deepest first; empty when it does not exist."""
    return files.descendants(directory) if os.path.isdir(directory) else []


def _make(directory: str) -> None:
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        pass
    except FileNotFoundError:
        os.makedirs(directory, 0o755, exist_ok=True)


def _remove(directory: str, deadline: float) -> None:
    pause = 0.0005
    while True:
        try:
            os.rmdir(directory)
            return
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(pause)
            pause = min(pause * 2, 0.05)


def join_here(tasks: "list[int]") -> None:
    """Move the caller, which has one thread, by the fds of ``Cgroup.open_doors``; closes them."""
    for fd in tasks:
        os.write(fd, b"0")
        os.close(fd)
