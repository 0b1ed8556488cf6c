"""Containers run by another OCI runtime, such as runc or crun: ``create``, ``start``, ``exec``.

The maker and the supervisors of exec processes call this where they would make or join a sandbox of
ours; all else (stdio, logs, exits, adoption) stays as it is. What the runtime forks becomes a child
of the nearest subreaper, which is the shim.

The root is mounted in a mount namespace of the maker's own, from which the runtime clones the
container's: no mount is left when the maker leaves. Bundle, process ID, log and console socket
are below the exec root, in ``<root>/bundles/<id>``; the runtime's own records in ``<root>/state``.
Signals, freezing and limits go to the process and its cgroup directly and need no runtime.
"""

import os

from ketch.errors import StartFailed
from ketch.links import Link
from ketch.linux import capabilities, fastjson, links
from ketch.linux import mountapi as m
from ketch.linux.namespaces import CLONE_NEWNS, unshare
from ketch.runtime import external_init, external_mounts, hostmounts, users
from ketch.runtime.cgroups.group import Cgroup
from ketch.runtime.external_program import Errand, Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.runtime.stdio import Stdio

    Body = dict[str, Any]


def launch(start: "Body", roots: "list[int]", stdio: "Stdio") -> "tuple[Body, list[int]]":
    """Run the container of START; what the maker tells its shim. ``roots``: root, then images.

    Raises ``StartFailed`` in the runtime's words, OSError; nothing is left behind then.
    """
    program = Program(start["runtime"])
    cgroup = Cgroup(start["cgroup"]["parent"], start["cgroup"]["name"])
    program.delete(start["id"])  # what a shim that was killed could not take away
    try:
        return _launch(program, cgroup, start, roots, stdio)
    except BaseException:
        _unmount(program.folder(start["id"]))
        program.delete(start["id"])
        cgroup.kill()
        cgroup.remove()
        raise


def _launch(
    program: Program, cgroup: Cgroup, start: "Body", roots: "list[int]", stdio: "Stdio"
) -> "tuple[Body, list[int]]":
    errand = Errand(program, start["id"], bool(start["terminal"]))
    _write_bundle(errand.folder, start, roots)
    words = ["create", "--bundle", errand.folder, *errand.options(), start["id"]]
    command = str((start["spec"]["process"].get("args") or [""])[0])
    errand.run(words, stdio.theirs, command)
    pid = errand.pid()
    pidfd = os.pidfd_open(pid)
    master = errand.master(start["console"])
    if start["link"]:
        links.plug(Link.from_wire(start["link"]), pid)
    errand.run(["start", start["id"]], (), command)
    errand.close()
    outcome = {"pid": pid, "cgroup": cgroup.to_wire(), "oom_kills": 0}
    return outcome, [pidfd, *([master] if master >= 0 else [])]


def _write_bundle(folder: str, start: "Body", roots: "list[int]") -> None:
    """Mount the root and write ``config.json`` with the user as numbers."""
    spec = start["spec"]
    root = f"{folder}/rootfs"
    os.mkdir(root, 0o700)
    _mount_apart(roots[0], root, spec)
    spec = external_mounts.placed(spec, folder, roots[1:])
    tree = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        user = _user(tree, start, spec["process"])
        spec = {**spec, "process": {**_possible(spec["process"]), "user": user}}
        if start.get("init"):
            spec = external_init.added(spec, tree, folder)
    finally:
        os.close(tree)
    write(f"{folder}/config.json", spec)


def _mount_apart(root_fd: int, target: str, spec: "Body") -> None:
    """Mount where only this process and what it starts see it.

    The mount that holds ``target`` must not propagate ours to the host, so it gets nothing more
    than what the host does from here on; a bind on the same mount that is to propagate to the
    host cannot be honoured.
    """
    hostmounts.come_back()
    unshare(CLONE_NEWNS)
    holder = _holder(target)
    m.mount_setattr(holder, propagation=m.MS_SLAVE)
    for mount in spec.get("mounts") or ():
        shared = {"shared", "rshared"} & set(mount.get("options") or ())
        if shared and _same_mount(holder, str(mount["source"])):
            raise StartFailed(
                f"cannot mount {mount['source']} at {mount['destination']}: it is on the same "
                "mount as the exec root, and an external runtime cannot propagate mounts from "
                f"there ({shared.pop()})",
                128,
            )
    os.close(holder)
    m.move_mount(root_fd, m.AT_FDCWD, target)


def _unmount(folder: str) -> None:
    names = os.listdir(folder) if os.path.isdir(folder) else []
    own = [name for name in names if name.startswith(external_mounts.PREFIX)]
    for name in ("rootfs", external_init.FOLDER, *own):
        try:
            m.umount(f"{folder}/{name}", m.MNT_DETACH)
        except OSError:
            continue  # it did not come to that


def _holder(path: str) -> int:
    """The root of the mount that ``path`` is on, as an O_PATH fd."""
    own = _mount_id(path)
    while path != "/" and _mount_id(os.path.dirname(path)) == own:
        path = os.path.dirname(path)
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def _same_mount(fd: int, path: str) -> bool:
    try:
        return _mount_id(path) == _mount_id(f"/proc/self/fd/{fd}")
    except OSError:
        return False  # the runtime will say that there is no such path


def _mount_id(path: str) -> str:
    """proc_pid_fdinfo(5)"""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
            return next(line.split()[1] for line in file if line.startswith("mnt_id:"))
    finally:
        os.close(fd)


def _user(tree: int, job: "Body", process: "Body") -> "Body":
    """The OCI user object of ``job``, whose names the container's own files explain."""
    if job.get("user") is None:
        return dict(process.get("user") or {})
    identity = users.resolve(tree, job["user"], job.get("groups_add") or ())
    return {"uid": identity.uid, "gid": identity.gid, "additionalGids": identity.groups}


def _possible(process: "Body") -> "Body":
    """``process`` without capabilities that nobody here can have: runtimes fail on them."""
    held = capabilities.bounding()
    sets = {
        kind: [name for name in names if held & capabilities.mask([name])]
        for kind, names in (process.get("capabilities") or {}).items()
    }
    return {**process, "capabilities": sets}


def join(job: "Body", stdio: "Stdio") -> "tuple[int, int, int]":
    """Run the process of EXEC in its container: (pid, pidfd, the terminal's master or -1).

    The caller must be a subreaper. Raises ``StartFailed`` or OSError.
    """
    program = Program(job["runtime"])
    errand = Errand(program, job["id"], bool(job["terminal"]))
    try:
        root = f"/proc/{int(job['init_pid'])}/root"
        tree = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            process = {**_possible(job["process"]), "user": _user(tree, job, job["process"])}
        finally:
            os.close(tree)
        path = f"{errand.folder}/process.json"
        write(path, process)
        words = ["exec", "--detach", "--process", path, *errand.options(), job["container"]]
        errand.run(words, stdio.theirs, str(process["args"][0]))
        pid = errand.pid()
        return pid, os.pidfd_open(pid), errand.master(job["console"])
    finally:
        errand.close()
        program.forget(job["id"])


def write(path: str, body: "Body") -> None:
    """A JSON file, whole or not at all: its directory is thrown away when this fails."""
    with open(path, "wb", buffering=0) as file:
        data = fastjson.dumps(body)
        while data:
            data = data[file.write(data) or 0 :]
