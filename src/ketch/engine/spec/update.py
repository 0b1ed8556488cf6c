"""Changing the specification of a container that is there (pure).

Each function takes the old value and what is to change, and returns the new one. What is to be
removed must be there: a request that misses its target is an error, not a success.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

import msgspec

from ketch.engine.containers import health_spec
from ketch.engine.containers.spec import ContainerSpec, PortSpec
from ketch.engine.containers.update_values import Changes
from ketch.engine.spec.merge import merge_env
from ketch.errors import InvalidParameter

_PORT = re.compile(
    r"(?:(?:(?P<ip>[\d.]+):)?(?P<host>\d{1,5}(?:-\d{1,5})?):)?(?P<inner>\d{1,5})"
    r"(?:/(?P<protocol>tcp|udp|sctp))?"
)


def with_live(spec: ContainerSpec, changes: Changes) -> ContainerSpec:
    """Ports and labels changed; raises ``InvalidParameter``."""
    ports = _ports(spec, changes)
    exposed = [f"{port.container_port}/{port.protocol}" for port in changes.ports_add]
    return msgspec.structs.replace(
        spec,
        ports=ports,
        exposed_ports=tuple(dict.fromkeys((*spec.exposed_ports, *exposed))),
        labels=_labels(spec.labels, changes),
    )


def with_next(spec: ContainerSpec, changes: Changes) -> ContainerSpec:
    """Environment and mounts changed; raises ``InvalidParameter``."""
    added = {clean(mount.target) for mount in changes.mounts_add}
    removed = {clean(target) for target in changes.mounts_remove}
    gone = added | removed  # a new mount at an old one's place replaces it
    kept = [
        (index, mount) for index, mount in enumerate(spec.mounts) if clean(mount.target) not in gone
    ]
    binds = [spec.binds[index] for index, _ in kept if index < len(spec.binds)]
    return msgspec.structs.replace(
        spec,
        env=_env(spec.env, changes),
        mounts=(*(mount for _, mount in kept), *changes.mounts_add),
        binds=tuple(binds),
        anonymous_volumes=tuple(t for t in spec.anonymous_volumes if clean(t) not in gone),
    )


def check_removed_mounts(targets: Iterable[str], changes: Changes) -> None:
    """Raise ``InvalidParameter`` when a mount to remove is not among ``targets``."""
    known = set(targets)
    for target in changes.mounts_remove:
        if clean(target) not in known:
            raise InvalidParameter(f"nothing is mounted at {target}")


def clean(target: str) -> str:
    """A target in its one way of being written."""
    return os.path.normpath(target).replace("//", "/")


def _ports(spec: ContainerSpec, changes: Changes) -> tuple[PortSpec, ...]:
    ports = list(spec.ports)
    for text in changes.ports_remove:
        match = _PORT.fullmatch(text)
        if match is None:
            raise InvalidParameter(
                f"invalid port to remove: {text!r:.60}: write [[IP:]HOST:]PORT[/PROTOCOL]"
            )
        left = [port for port in ports if not _matches(port, match)]
        if len(left) == len(ports):
            by_all = " (ports that -P publishes stay as long as they are exposed)"
            raise InvalidParameter(
                f"the container publishes no port {text}{by_all if spec.publish_all else ''}"
            )
        ports = left
    for port in changes.ports_add:
        if port not in ports:
            ports.append(port)
    return tuple(ports)


def _matches(port: PortSpec, asked: re.Match[str]) -> bool:
    return (
        port.container_port == int(asked["inner"])
        and port.protocol == (asked["protocol"] or "tcp")
        and asked["host"] in (None, port.host_port)
        and asked["ip"] in (None, port.host_ip or "0.0.0.0")
    )


def _labels(old: dict[str, str], changes: Changes) -> dict[str, str]:
    for name in (*changes.labels_add, *changes.labels_remove):
        if name.startswith(health_spec.PREFIX):
            raise InvalidParameter(f"the label {name} counts when a container is created only")
    for name in changes.labels_remove:
        if name not in old:
            raise InvalidParameter(f"the container has no label {name!r:.100}")
    kept = {name: value for name, value in old.items() if name not in changes.labels_remove}
    return {**kept, **changes.labels_add}


def _env(old: tuple[str, ...], changes: Changes) -> tuple[str, ...]:
    names = {entry.partition("=")[0] for entry in old}
    for name in changes.env_remove:
        if name not in names:
            raise InvalidParameter(f"the container has no environment variable {name!r:.100}")
    for entry in changes.env_add:
        if "=" not in entry:
            raise InvalidParameter(
                f"invalid environment variable: {entry!r:.100}: write NAME=VALUE"
            )
    added = {entry.partition("=")[0]: entry for entry in merge_env(changes.env_add, ())}
    kept = []
    for entry in old:
        name = entry.partition("=")[0]
        if name in added:
            kept.append(added.pop(name))  # where it was
        elif name not in changes.env_remove:
            kept.append(entry)
    return (*kept, *added.values())
