"""Executing a launch plan: from the warm stage to the container's root (child side)."""

import os

from ketch.errors import StartFailed, errno_text
from ketch.linux import mountapi as m
from ketch.linux import namespaces
from ketch.linux.paths import O_PATH, make_directories, open_in_root
from ketch.mounts import Mount
from ketch.runtime import console, workdir
from ketch.runtime.mounting import Mounter
from ketch.runtime.starting import open_console, start_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.runtime.channel import Channel
    from ketch.runtime.staging import Stage

_PROPAGATION = {
    "private": m.MS_PRIVATE,
    "slave": m.MS_SLAVE,
    "shared": m.MS_SHARED,
    "unbindable": m.MS_UNBINDABLE,
}


def execute_plan(
    channel: "Channel", stage: "Stage", plan: "dict[str, Any]", fds: "list[int]"
) -> None:
    """Build the root, pivot into it and become the program; raises ``StartFailed`` or OSError.

    ``fds``: the root's mount, stdio, the gate's two FIFOs and the init program if any, the sources
    of the binds.
    """
    terminal, stdio, extra = enter_root(stage, plan, fds)
    start_program(channel, plan["process"], terminal, stdio, extra)


def enter_root(
    stage: "Stage", plan: "dict[str, Any]", fds: "list[int]"
) -> "tuple[tuple[int, int] | None, list[int], list[int]]":
    """``execute_plan`` up to the program: the terminal, stdio, the gate."""
    wanted = plan["process"]
    stdio_count = wanted["stdio_count"]
    root_fd, stdio, rest = fds[0], fds[1 : 1 + stdio_count], fds[1 + stdio_count :]
    extra = rest[: plan["extra_count"]]
    if wanted["has_init"]:
        wanted["init_fd"] = extra.pop()
    stage.attach_root(root_fd)
    mounter = Mounter(root_fd, stage.mounter.cgroup_view, stage.mounter.procs)
    mounts = [Mount.from_wire(wire) for wire in plan["mounts"]]
    stage.execute(mounts, rest[plan["extra_count"] :], mounter)
    _finish_root(mounter, plan)
    terminal = open_console(mounter.devpts, wanted)
    if terminal:
        console.bind_console(root_fd, terminal[1])
    _name_host(plan)
    os.fchdir(root_fd)
    m.pivot_root_here()
    if stage.keeps_old:
        m.umount(".", m.MNT_DETACH)  # what was on top of the stage is gone: now the stage itself
    if plan["root_propagation"]:
        _propagate(plan["root_propagation"])
    return terminal, stdio, extra


def _finish_root(mounter: Mounter, plan: "dict[str, Any]") -> None:
    for device in plan["devices"]:
        _make_device(mounter.root_fd, device)
    _set_sysctls(mounter.proc_sys, plan["sysctls"])
    wanted = plan["process"]
    if wanted.get("make_cwd"):
        workdir.make(mounter.root_fd, wanted["cwd"])
    for path in plan["readonly"]:
        mounter.make_readonly(path)
    for path in plan["masked"]:
        mounter.mask(path)
    if plan["root_readonly"]:
        m.mount_setattr(mounter.root_fd, m.ATTR_RDONLY)


def _make_device(root_fd: int, device: "dict[str, Any]") -> None:
    """An OCI ``linux.devices`` entry; one that is there with the same numbers is kept."""
    path = str(device["path"])
    parent, _, name = path.rstrip("/").rpartition("/")
    kinds = {"c": 0o020000, "u": 0o020000, "b": 0o060000, "p": 0o010000}
    if device.get("type") not in kinds or not name:
        raise StartFailed(f"device {path} has the unknown type {device.get('type')!r}", 128)
    number = os.makedev(device.get("major") or 0, device.get("minor") or 0)
    dir_fd = make_directories(root_fd, parent or "/")
    try:
        mode = kinds[device["type"]] | (device.get("fileMode", 0o666) & 0o7777)
        try:
            os.mknod(name, mode, number, dir_fd=dir_fd)
        except FileExistsError:
            os.unlink(name, dir_fd=dir_fd)
            os.mknod(name, mode, number, dir_fd=dir_fd)
        owner = (device.get("uid") or 0, device.get("gid") or 0)
        os.chown(name, *owner, dir_fd=dir_fd, follow_symlinks=False)
    except OSError as error:
        raise StartFailed(f"cannot make device {path}: {errno_text(error)}", 128) from None
    finally:
        os.close(dir_fd)


def _set_sysctls(proc_sys: int, values: "dict[str, str]") -> None:
    """Write below the /proc/sys that we mounted ourselves, before it becomes read-only."""
    for name, value in values.items():
        path = sysctl_path(name)
        if proc_sys < 0 or ".." in path.split("/") or path.startswith("/"):
            raise StartFailed(f"cannot set sysctl {name}: no such parameter", 128)
        try:
            fd = open_in_root(proc_sys, path, os.O_WRONLY)
            os.write(fd, str(value).encode())
            os.close(fd)
        except OSError as error:
            raise StartFailed(
                f"cannot set sysctl {name}={value}: {errno_text(error)}", 128
            ) from None


def sysctl_path(name: str) -> str:
    """Below /proc/sys; where a dot separates, a slash stands for a dot in a name (sysctl(8))."""
    separator = next((letter for letter in name if letter in "./"), "/")
    return name if separator == "/" else name.translate({46: 47, 47: 46})


def _name_host(plan: "dict[str, Any]") -> None:
    if plan["hostname"]:
        namespaces.sethostname(plan["hostname"])
    if plan["domainname"]:
        namespaces.setdomainname(plan["domainname"])


def _propagate(words: str) -> None:
    recursive = words.startswith("r")
    kind = _PROPAGATION.get(words[1:] if recursive else words)
    if kind is None:
        raise StartFailed(f"unknown root propagation {words!r}", 128)
    root = os.open("/", O_PATH | os.O_CLOEXEC)
    m.mount_setattr(root, propagation=kind, recursive=recursive)
    os.close(root)
