"""The START and EXEC objects of the launcher protocol (pure; docs/contracts.md)."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ketch.engine.model import ContainerRecord, ContainerSpec
from ketch.errors import InvalidParameter
from ketch.links import Link
from ketch.mounts import Rootfs
from ketch.runtime.messages import Log, Runtime, Start

_SIZE = re.compile(r"(\d+)([kmgt]?)b?\Z")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


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
    log_max_size: int = 0
    log_max_files: int = 1


def start_wire(record: ContainerRecord, launch: Launch) -> Start:
    """The START object; the clients are added by ``Launcher.start``."""
    spec = record.spec
    wire: Start = {
        "id": record.id,
        "bundle": record.bundle,
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
        "log": log_wire(record, launch.log_max_size, launch.log_max_files),
        "socket": launch.socket,
    }
    if launch.runtime is not None:
        wire["runtime"] = launch.runtime
    return wire


def log_wire(record: ContainerRecord, max_size: int, max_files: int) -> Log:
    """The ``log`` object: the engine's bounds unless the container has its own."""
    options = record.spec.log.options
    return {
        "driver": record.spec.log.driver or "json-file",
        "path": record.log_path,
        "max_size": parse_size(options["max-size"]) if "max-size" in options else max_size,
        "max_file": _count(options["max-file"]) if "max-file" in options else max_files,
        "attrs": log_attributes(record),
    }


def log_attributes(record: ContainerRecord) -> dict[str, str]:
    """What ``--log-opt labels=…``, ``env=…`` and ``tag=…`` add to each line."""
    options, spec = record.spec.log.options, record.spec
    labels = _chosen(options, "labels", spec.labels)
    env = _chosen(options, "env", _environment(spec))
    tag = {"tag": _tag(options["tag"], record)} if options.get("tag") else {}
    return {**labels, **env, **tag}


def _chosen(options: dict[str, str], key: str, values: dict[str, str]) -> dict[str, str]:
    names = {name.strip() for name in options.get(key, "").split(",")}
    pattern = options.get(f"{key}-regex", "")
    return {
        name: value
        for name, value in values.items()
        if name in names or (pattern and re.search(pattern, name))
    }


def _environment(spec: ContainerSpec) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in spec.env)
    return {name: value for name, _, value in pairs}


def _tag(template: str, record: ContainerRecord) -> str:
    values = {
        "{{.ID}}": record.id[:12],
        "{{.FullID}}": record.id,
        "{{.Name}}": record.name,
        "{{.ImageName}}": record.spec.image,
        "{{.ImageID}}": record.image_id[:19],
        "{{.ImageFullID}}": record.image_id,
        "{{.DaemonName}}": "ketch",
    }
    for placeholder, value in values.items():
        template = template.replace(placeholder, value)
    return template


def parse_size(text: str) -> int:
    """``10m`` → bytes; -1 is 0 (no bound). Raises ``InvalidParameter``."""
    if text == "-1":
        return 0
    match = _SIZE.match(text.lower())
    if match is None:
        raise InvalidParameter(f"invalid size: '{text}'")
    return int(match[1]) * _UNITS[match[2]]


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise InvalidParameter(f"max-file should be a positive number, not '{text}'")
    return int(text)
