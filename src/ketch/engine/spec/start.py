"""The START and EXEC objects of the launcher protocol (pure; docs/contracts.md)."""

from __future__ import annotations

from typing import Any

import msgspec

from ketch.engine.containers.log_wire import log_wire
from ketch.engine.containers.record import ContainerRecord
from ketch.links import Link
from ketch.mounts import Rootfs
from ketch.runtime.messages import Runtime, Start


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one start that is not in the record."""

    config: dict[str, Any]  # OCI
    rootfs: Rootfs
    socket: str
    cgroup_parent: str
    seccomp: str = ""
    runtime: Runtime | None = None  # None: ours
    warm: str = ""
    init: bool = False
    groups: tuple[str, ...] = ()  # supplementary ones that devices need
    link: Link | None = None
    images: tuple[Rootfs, ...] = ()  # mounted for the binds whose source is ``image:n``


def start_wire(record: ContainerRecord, launch: Launch) -> Start:
    """The START object; the clients are added by ``Launcher.start``."""
    spec = record.spec
    wire: Start = {
        "id": record.id,
        "bundle": record.bundle,
        "durable": not spec.auto_remove,  # else a power cut ends it anyway, and its record
        "spec": launch.config,
        "rootfs": launch.rootfs.to_wire(),
        "warm": launch.warm or None,
        "images": [image.to_wire() for image in launch.images],
        "link": launch.link.to_wire() if launch.link is not None else None,
        "cgroup": {"parent": launch.cgroup_parent, "name": record.id},
        "user": spec.user,
        "groups_add": [*spec.group_add, *launch.groups],
        "make_cwd": True,
        "init": launch.init,
        "seccomp": launch.seccomp,
        "stdin": spec.open_stdin,
        "stdin_once": spec.stdin_once,
        "terminal": spec.tty,
        "console": list(spec.console_size),
        "log": log_wire(record),
        "socket": launch.socket,
    }
    if launch.runtime is not None:
        wire["runtime"] = launch.runtime
    return wire
