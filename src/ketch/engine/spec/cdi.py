"""Container Device Interface: files that say what a device needs in a container.

The format is the CDI specification's (cncf-tags/container-device-interface, SPEC.md, 0.3.0 to
1.1.0): JSON or YAML, one *kind* (``vendor.com/class``) per file, with edits per device and edits
for all of them. A file that breaks the rules is reported when one of its devices is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ketch.errors import InvalidParameter

VERSIONS = ("0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
HOOKS = (
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
)  # fmt: skip
_KIND = re.compile(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?/[A-Za-z0-9]([\w-]*[A-Za-z0-9])?\Z", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9]([\w.:-]*[A-Za-z0-9])?\Z", re.ASCII)


class Node(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A device node; what is left out is taken from the host's node."""

    path: str
    host_path: str = ""
    type: str = ""
    major: int | None = None
    minor: int | None = None
    file_mode: int | None = None
    permissions: str = ""
    uid: int | None = None
    gid: int | None = None


class Bind(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A mount; without a type it is a bind."""

    host_path: str
    container_path: str
    type: str = ""
    options: tuple[str, ...] = ()


class Hook(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An OCI hook; ``timeout`` in seconds."""

    hook_name: str
    path: str
    args: tuple[str, ...] | None = None
    env: tuple[str, ...] | None = None
    timeout: int | None = None


class Edits(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is added to a container."""

    env: tuple[str, ...] = ()
    device_nodes: tuple[Node, ...] = ()
    mounts: tuple[Bind, ...] = ()
    hooks: tuple[Hook, ...] = ()
    additional_gids: tuple[int, ...] = ()
    net_devices: tuple[dict[str, Any], ...] = ()
    intel_rdt: dict[str, Any] | None = None


class Device(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One device of a kind."""

    name: str
    annotations: dict[str, str] = {}
    container_edits: Edits


class Spec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A whole file."""

    cdi_version: str
    kind: str
    annotations: dict[str, str] = {}
    devices: tuple[Device, ...]
    container_edits: Edits = Edits()


def parse(data: bytes, path: str) -> Spec:
    """A file's content; raises ``InvalidParameter`` naming the file and what is wrong with it."""
    decode = msgspec.json.decode if path.endswith(".json") else msgspec.yaml.decode
    try:
        spec: Spec = decode(data, type=Spec)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidParameter(f"{path}: {error}") from None
    for problem in _problems(spec):
        raise InvalidParameter(f"{path}: {problem}")
    return spec


def _problems(spec: Spec) -> Iterator[str]:
    if spec.cdi_version.removeprefix("v") not in VERSIONS:
        yield f"CDI version {spec.cdi_version!r} is not known"
    if not _KIND.match(spec.kind):
        yield f"kind {spec.kind!r} is not of the form vendor/class"
    names = [device.name for device in spec.devices]
    for name in names:
        if not _NAME.match(name) or names.count(name) > 1:
            yield f"device name {name!r} is malformed or there twice"
    if not names:
        yield "it has no devices"
    for edits in (spec.container_edits, *(device.container_edits for device in spec.devices)):
        yield from _edit_problems(edits)


def _edit_problems(edits: Edits) -> Iterator[str]:
    for node in edits.device_nodes:
        if not node.path.startswith("/") or not set(node.permissions) <= set("rwm"):
            yield f"device node {node.path!r}: path or permissions"
        if node.type not in ("", "b", "c", "u", "p"):
            yield f"device node {node.path!r}: unknown type {node.type!r}"
    for mount in edits.mounts:
        if not mount.host_path or not mount.container_path.startswith("/"):
            yield f"mount {mount.container_path!r}: hostPath and containerPath are needed"
    for hook in edits.hooks:
        if hook.hook_name not in HOOKS or not hook.path.startswith("/"):
            yield f"hook {hook.hook_name!r}: unknown name, or its path is not absolute"
    for variable in edits.env:
        if not variable.partition("=")[0] or "\0" in variable:
            yield f"environment variable {variable!r}"


def joined(parts: Iterable[Edits]) -> Edits:
    """All edits as one, in order; parts that are there twice count once."""
    found: dict[str, list[Any]] = {name: [] for name in Edits.__struct_fields__}
    for edits in parts:
        for name, values in found.items():
            value = getattr(edits, name)
            added = (value,) if isinstance(value, dict) else value or ()
            values += [one for one in added if one not in values]
    rdt = found.pop("intel_rdt")
    return Edits(
        **{name: tuple(values) for name, values in found.items()},
        intel_rdt=rdt[0] if rdt else None,
    )
