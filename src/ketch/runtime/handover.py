"""What the parent of a sandbox prepares for its child: process, fds, namespaces, cgroups.

The child is pivoted into a root where no path of the host means anything, so everything that
comes from the host is opened here and handed over as an fd.
"""

import errno
import os

from ketch.errors import StartFailed, errno_text
from ketch.linux import mountapi as m
from ketch.linux.descriptors import close_all
from ketch.linux.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWNS,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    NAMESPACES,
    same_namespace,
    setns,
    unshare,
)
from ketch.linux.paths import open_in_root
from ketch.linux.process import SIGKILL
from ketch.mounts import IMAGE, SHM, SUBPATH
from ketch.runtime.cgroups.hierarchy import detect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ketch.mounts import Mount
    from ketch.runtime.cgroups.group import Cgroup
    from ketch.runtime.cgroups.hierarchy import Hierarchy
    from ketch.runtime.namespace_plan import NamespacePlan

    Wire = dict[str, Any]

_LONGEST_FILTER = 4096 * 8  # bytes: BPF_MAXINSNS instructions
_PLACE = "/tmp"  # any directory that is always there


def process_order(job: "Wire", process: "Wire") -> "Wire":
    """The ``wanted`` dictionary of ``starting.start_program``, of builtin types alone.

    ``job`` is START or EXEC; ``process`` the OCI process object. A job without ``user`` takes the
    numbers of the OCI object. Raises ``StartFailed``.
    """
    args = [str(word) for word in process.get("args") or ()]
    if not args:
        raise StartFailed("no command specified", 128)
    user = process.get("user") or {}
    ids = (int(user.get("uid", 0)), int(user.get("gid", 0)), list(user.get("additionalGids") or ()))
    order: Wire = {
        "args": args,
        "env": [str(word) for word in process.get("env") or ()],
        "cwd": str(process.get("cwd") or "/"),
        "user": job["user"] if job.get("user") is not None else None,
        "groups_add": [str(group) for group in job.get("groups_add") or ()],
        "ids": ids,
        "terminal": bool(job.get("terminal")),
        "console": list(job.get("console") or (0, 0)),
        "make_cwd": bool(job.get("make_cwd")),
        "rlimits": list(process.get("rlimits") or ()),
        "capabilities": process.get("capabilities"),
        "noNewPrivileges": bool(process.get("noNewPrivileges")),
        "seccomp": read_filter(str(job.get("seccomp") or "")),
        "seccomp_flags": job.get("seccomp_flags") or 0,
        "stdio_count": 3,
        "has_init": bool(job.get("init")),
        "init_fd": -1,
        "parent_death_signal": job.get("parent_death_signal", SIGKILL),
    }
    if user.get("umask") is not None:
        order["umask"] = int(user["umask"])
    return order


def read_filter(path: str) -> bytes:
    """A compiled seccomp filter; raises ``StartFailed`` when it is missing or too long."""
    if not path:
        return b""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            program = os.read(fd, _LONGEST_FILTER + 1)
        finally:
            os.close(fd)
    except OSError as error:
        raise StartFailed(
            f"cannot read the seccomp filter {path}: {errno_text(error)}", 128
        ) from None
    if not program:
        raise StartFailed(f"the seccomp filter {path} is empty", 128)
    if len(program) > _LONGEST_FILTER:
        raise StartFailed(f"the seccomp filter {path} is too long", 128)
    return program


def open_binds(sources: "Sequence[Mount]", images: "Sequence[int]" = ()) -> "list[int]":
    """Detached copies of what is to be bound, in order; raises ``StartFailed`` naming the path.

    ``images`` are the mounts that sources like ``image:0`` mean.
    """
    found: list[int] = []
    for mount in sources:
        try:
            found.append(_open_bind(mount, images))
        except OSError as error:
            close_all(found)
            raise StartFailed(
                f"cannot mount {mount.source} at {mount.target}: {errno_text(error)}", 128
            ) from None
    return found


def _open_bind(mount: "Mount", images: "Sequence[int]") -> int:
    recursive = "rbind" in mount.options
    if mount.source.startswith(SHM):
        return _shm_of(int(mount.source[len(SHM) :]))
    subpath = next((word for word in mount.options if word.startswith(SUBPATH)), "")
    inside = subpath[len(SUBPATH) :]
    if mount.source.startswith(IMAGE):
        return _of_image(images[int(mount.source[len(IMAGE) :])], inside, recursive)
    if not subpath:
        return m.open_tree(mount.source, recursive=recursive)
    root = os.open(mount.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _copy(root, inside, recursive)
    finally:
        os.close(root)


def _copy(root: int, path: str, recursive: bool) -> int:
    """A detached copy of what is at a path below a mount's root."""
    inside = open_in_root(root, path) if path else os.dup(root)
    try:
        return m.open_tree("", inside, recursive=recursive)
    finally:
        os.close(inside)


def _of_image(image: int, path: str, recursive: bool) -> int:
    """A copy of a part of a detached mount, or of all of it.

    Before Linux 6.15 only mounts that are attached can be copied: it gets a place for a moment,
    in a mount namespace that nobody else sees, and goes with that.
    """
    try:
        return _copy(image, path, recursive)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    here = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(CLONE_NEWNS)
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        m.mount_setattr(root, propagation=m.MS_PRIVATE, recursive=True)
        os.close(root)
        m.move_mount(image, m.AT_FDCWD, _PLACE)
        place = os.open(_PLACE, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return _copy(place, path, recursive)
        finally:
            os.close(place)
    finally:
        setns(here, CLONE_NEWNS)
        os.close(here)


def _shm_of(pid: int) -> int:
    """A copy of another container's /dev/shm: its mount is in no other mount namespace."""
    here = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(there, CLONE_NEWNS)
        try:
            return m.open_tree("/dev/shm")
        finally:
            setns(here, CLONE_NEWNS)
    finally:
        close_all((here, there))


def stdio_fds(stdio: "Sequence[int]") -> "list[int]":
    """Three fds; where a terminal takes the place of a stream, /dev/null is handed over."""
    return [
        fd if fd >= 0 else os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC) for fd in stdio[:3]
    ] + list(stdio[3:])


def view_of(
    cgroup: "Cgroup", plan: "NamespacePlan"
) -> "list[tuple[str, list[tuple[str, str | None]], str]]":
    """``cgroup_view`` of a container."""
    has_view = plan.makes(CLONE_NEWCGROUP) or "cgroup" in plan.join
    return cgroup_view(cgroup.hierarchies, "" if has_view else f"{cgroup.parent}/{cgroup.name}")


def cgroup_view(
    hierarchies: "Sequence[Hierarchy]",
    own: str = "",
) -> "list[tuple[str, list[tuple[str, str | None]], str]]":
    """The v1 hierarchies as the container sees them (``Mounter``); empty on a pure v2 machine.

    ``own`` is the container's path in them when it has no cgroup namespace to hide the rest.
    """
    if all(hierarchy.version == 2 for hierarchy in hierarchies):
        return []
    return [
        (os.path.basename(hierarchy.mount), _view_options(hierarchy), own)
        for hierarchy in hierarchies
    ]


def _view_options(hierarchy: "Hierarchy") -> "list[tuple[str, str | None]]":
    if hierarchy.version == 2:
        return []
    options: list[tuple[str, str | None]] = []
    for name in hierarchy.controllers:
        key, equals, value = name.partition("=")
        options += [("none", None), (key, value)] if equals else [(name, None)]
    return options


def namespaces_to_join(pid: int) -> int:
    """Flags of the namespaces of ``pid``.

    Entering one where the caller is already changes nothing. Two are left out then: the user
    namespace, which setns(2) refuses, and the time namespace, which it refuses to some.
    """
    flags = existing_namespaces()
    for flag, kind in ((CLONE_NEWUSER, "user"), (CLONE_NEWTIME, "time")):
        if flags & flag and same_namespace(pid, kind):
            flags &= ~flag
    return flags


_existing = 0


def existing_namespaces() -> int:
    """Flags of the namespaces that this kernel has; found out once."""
    global _existing
    if not _existing:
        names = os.listdir("/proc/self/ns")
        _existing = sum(flag for flag, file in NAMESPACES.values() if file in names)
    return _existing


def cgroup_doors(pid: int) -> "tuple[list[int], int]":
    """As ``Cgroup.open_doors`` for the groups that ``pid`` is in (proc_pid_cgroup(5))."""
    tasks: list[int] = []
    unified = -1
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    paths = {tuple(names.split(",")) if names else (): path for _, names, path in lines}
    for hierarchy in detect():
        path = paths.get(() if hierarchy.version == 2 else hierarchy.controllers)
        if path is None:
            continue
        directory = hierarchy.mount + path
        if hierarchy.version == 2:
            unified = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        else:
            tasks.append(os.open(directory + "/tasks", os.O_WRONLY | os.O_CLOEXEC))
    return tasks, unified


def adjust_oom_score(pid: "int | str", value: "int | None") -> None:
    """Best effort: without CAP_SYS_RESOURCE a score cannot be lowered (proc_pid_oom_score_adj)."""
    if value:
        set_oom_score(pid, value)


def set_oom_score(pid: "int | str", value: int) -> None:
    """``adjust_oom_score``, to 0 too."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w", encoding="utf-8") as file:
            file.write(str(value))
    except OSError:
        return


def map_ids(pid: int, spec: "Wire") -> None:
    """Write the user and group ID maps of a new user namespace (user_namespaces(7))."""
    for kind in ("uid", "gid"):
        mappings = spec.get(f"{kind}_mappings") or ()
        if not mappings:
            raise StartFailed(f"a user namespace needs {kind}Mappings", 128)
        lines = "".join(
            f"{entry['containerID']} {entry['hostID']} {entry['size']}\n" for entry in mappings
        )
        with open(f"/proc/{pid}/{kind}_map", "w", encoding="utf-8") as file:
            file.write(lines)
