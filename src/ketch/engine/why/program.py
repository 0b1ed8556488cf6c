"""What is wrong with a container's program, by a look into its file system."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ketch.engine.spec.merge import process_env
from ketch.engine.why.values import KNOWN, LIKELY, Finding
from ketch.errors import KetchError
from ketch.linux.paths import open_in_root

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts
    from ketch.engine.containers.record import ContainerRecord, MountPoint

_TEXTS = {
    "missing": "There is no program {path} in the image{more}.",
    "directory": "{path} is a directory, not a program.",
    "not-executable": "{path} is there but not executable: chmod +x it in the image.",
    "empty": "{path} is an empty file.",
    "format": "{path} is no program that the kernel can execute{more}.",
    "crlf": "The script {path} has Windows line ends, so the kernel looks for the interpreter "
    '"{interpreter}\\r": convert it to Unix line ends.',
    "interpreter": "The script {path} wants the interpreter {interpreter}, which is not in the "
    "image.",
    "loader": "{path} wants the dynamic loader {loader}, which is not in the image: it was built "
    "for another C library (glibc or musl), or its base image lacks it.",
    "library": "{needed_by} needs the shared library {library}, which is not in the image.",
    "architecture": "{path} is a program for {architecture}, and this machine is {host}.",
    "unmounted": "{path} cannot be opened in what is mounted there: {reason}.",
    "unreadable": "The program could not be looked at: {reason}.",
}


async def findings(parts: Parts, record: ContainerRecord, program: str = "") -> list[Finding]:
    """Look at the container's program, or at ``program`` that something in it wanted to run."""
    env = _environment(record)
    command = (*(record.spec.entrypoint or ()), *(record.spec.cmd or ()))
    name = program or (command[0] if command else "")
    if not name:
        return []
    place = os.path.normpath(os.path.join(record.spec.working_dir or "/", name))
    point = _mount_of(record, place) if "/" in name else None
    if point is None:
        return await _looked_at(parts, record, {"program": name}, env, [])
    if _forbids_execution(record, point):
        text = f"{place} is on a mount that nothing can be executed from ({point.target}: noexec)."
        details: dict[str, str | int] = {"path": place, "target": point.target}
        return [Finding(kind="program-noexec", text=text, certainty=LIKELY, details=details)]
    try:
        fd = _open_mounted(point, place)
    except OSError as error:
        reason = (error.strerror or "").lower()
        return [_finding({"kind": "unmounted", "path": place, "reason": reason})]
    try:
        return await _looked_at(parts, record, {"program": place}, env, [fd])
    finally:
        os.close(fd)


async def _looked_at(
    parts: Parts, record: ContainerRecord, args: dict[str, str], env: dict[str, str], fds: list[int]
) -> list[Finding]:
    args = {
        **args,
        "path": env.get("PATH", ""),
        "cwd": record.spec.working_dir,
        "library_path": env.get("LD_LIBRARY_PATH", ""),
    }
    root = parts.snapshots.rootfs(record.id)
    try:
        said = await parts.launcher.work("ketch.runtime.program_check:check", args, fds, root)
    except KetchError as error:
        said = {"kind": "unreadable", "reason": str(error)}
    return [_finding(said)] if said["kind"] else []


def _mount_of(record: ContainerRecord, path: str) -> MountPoint | None:
    """The mount that holds ``path``, or is it."""
    points = record.mount_points
    holding = [p for p in points if path == p.target or path.startswith(p.target + "/")]
    return max(holding, key=lambda point: len(point.target), default=None)


def _forbids_execution(record: ContainerRecord, point: MountPoint) -> bool:
    if point.type == "tmpfs":
        asked = [m for m in record.spec.mounts if os.path.normpath(m.target) == point.target]
        return not any("exec" in mount.tmpfs_options for mount in asked)
    try:
        return bool(os.statvfs(point.source).f_flag & os.ST_NOEXEC)
    except OSError:
        return False


def _open_mounted(point: MountPoint, path: str) -> int:
    """The program as the container would see it; links are not followed out of the mount.

    Only files are opened for reading: to open a device may do something.
    """
    if path == point.target:
        found = os.open(point.source, os.O_PATH | os.O_CLOEXEC)
    else:
        root = os.open(point.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = open_in_root(root, path[len(point.target) :], os.O_PATH | os.O_CLOEXEC)
        finally:
            os.close(root)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        return found  # its mode says what is wrong
    try:
        return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(found)


def _environment(record: ContainerRecord) -> dict[str, str]:
    entries = process_env(record.spec.env, hostname="", tty=False)
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}


def _finding(said: dict[str, str]) -> Finding:
    kind = said["kind"]
    details: dict[str, str | int] = {n: value for n, value in said.items() if n != "kind" and value}
    text = _TEXTS[kind].format(**{**said, "more": _more(said)})
    certainty = LIKELY if kind in ("unmounted", "unreadable") else KNOWN
    return Finding(kind=f"program-{kind}", text=text, certainty=certainty, details=details)


def _more(said: dict[str, str]) -> str:
    if said.get("searched"):
        return f", looked for in {said['searched']}"
    if said.get("link"):
        return f": it is a link to {said['link']}, which is not there"
    if said["kind"] == "format" and said.get("text"):
        return ": it is text without a first line such as #!/bin/sh"
    return ""
