"""What is wrong with a container's program, by a look into its file system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ketch.engine.spec_merge import process_env
from ketch.engine.why_values import LIKELY, Finding
from ketch.errors import KetchError
from ketch.mounts import Rootfs

if TYPE_CHECKING:
    from ketch.engine.container_parts import Parts
    from ketch.engine.model import ContainerRecord

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
    "unreadable": "The program could not be looked at: {reason}.",
}


async def findings(parts: Parts, record: ContainerRecord, program: str = "") -> list[Finding]:
    """Look at the container's program, or at ``program`` that something in it wanted to run.

    Mounts are not looked into: a program on a volume is taken for missing, so that is only likely.
    """
    env = _environment(record)
    command = (*(record.spec.entrypoint or ()), *(record.spec.cmd or ()))
    args: dict[str, Any] = {
        "program": program or (command[0] if command else ""),
        "path": env.get("PATH", ""),
        "cwd": record.spec.working_dir,
        "library_path": env.get("LD_LIBRARY_PATH", ""),
    }
    if not args["program"]:
        return []
    try:
        said = await parts.launcher.work(
            "ketch.runtime.program_check:check", args, rootfs=_root(parts, record)
        )
    except KetchError as error:
        said = {"kind": "unreadable", "reason": str(error)}
    return [_finding(record, said)] if said["kind"] else []


def _root(parts: Parts, record: ContainerRecord) -> Rootfs:
    return parts.snapshots.rootfs(record.id)


def _environment(record: ContainerRecord) -> dict[str, str]:
    entries = process_env(record.spec.env, hostname="", tty=False)
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}


def _finding(record: ContainerRecord, said: dict[str, str]) -> Finding:
    kind = said["kind"]
    details = {name: value for name, value in said.items() if name != "kind" and value}
    text = _TEXTS[kind].format(**{**said, "more": _more(said)})
    path = said.get("path", "")
    mounted = next((p.target for p in record.mount_points if path.startswith(p.target + "/")), "")
    if mounted:
        text += f" (Not looked into: {mounted} is mounted at the start.)"
    return Finding(
        kind=f"program-{kind}",
        text=text,
        details={**details},
        certainty=LIKELY if mounted or (kind == "missing" and record.mount_points) else "known",
    )


def _more(said: dict[str, str]) -> str:
    if said.get("searched"):
        return f", looked for in {said['searched']}"
    if said.get("link"):
        return f": it is a link to {said['link']}, which is not there"
    if said["kind"] == "format" and said.get("text"):
        return ": it is text without a first line such as #!/bin/sh"
    return ""
