"""Where a container will run: namespaces, devices, mounts and files looked up for one start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ketch.engine.containers import etc as container_etc
from ketch.engine.containers import links as container_links
from ketch.engine.containers.mounts import executable
from ketch.engine.containers.record import ContainerRecord, Endpoint
from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.spec import devices as spec_devices
from ketch.engine.spec.oci import Place
from ketch.engine.spec.resources import ulimits
from ketch.errors import Conflict
from ketch.mounts import SHM

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts

_PROC_FILES = {"pid": "pid", "ipc": "ipc", "network": "net"}


def place(
    parts: Parts, record: ContainerRecord, cgroup: str, endpoints: Sequence[Endpoint] = ()
) -> Place:
    """The place of one start; raises ``Conflict`` when a container to join does not run.

    Writes the files below /etc into the bundle; ``endpoints`` are what the network gave.
    """
    spec = record.spec
    name = hostname(parts, record)
    devices, rules = spec_devices.resolve(spec.resources.devices)
    if spec.privileged:
        devices = [*spec_devices.host_devices(), *devices]
    return Place(
        hostname=name,
        cgroup=cgroup,
        env=container_links.environment(parts.store, record) if record.links else (),
        etc=_etc(parts, record, name, endpoints),
        joined=_joined(parts, spec),
        shared=shared(spec),
        mounts=executable(spec, record.mount_points),
        devices=tuple(devices),
        device_rules=tuple(rules),
        block_io=spec_devices.block_io(spec.resources),
        ulimits=ulimits(spec.resources.ulimits, parts.config.default_ulimits),
        shm=_shm(parts, spec),
    )


def _etc(parts: Parts, record: ContainerRecord, name: str, endpoints: Sequence[Endpoint]) -> str:
    """The directory of hostname, hosts and resolv.conf: with a network shared, its owner's."""
    if record.spec.network_mode.startswith("container:"):
        return _other(parts, record.spec.network_mode).bundle
    linked = list(container_links.hosts(parts.store, record)) if record.links else []
    container_etc.write(record, (name, linked), endpoints, parts.config.dns)
    return record.bundle


def hostname(parts: Parts, record: ContainerRecord) -> str:
    """The host's name where its network or UTS namespace is shared; else given, or from the ID."""
    spec = record.spec
    if spec.hostname:
        return spec.hostname
    if "host" in (spec.network_mode, spec.uts_mode):
        return os.uname().nodename
    if spec.network_mode.startswith("container:"):
        return hostname(parts, _other(parts, spec.network_mode))
    return record.id[:12]


def shared(spec: ContainerSpec) -> frozenset[str]:
    """Namespaces (OCI names) that are the host's."""
    modes = {
        "pid": spec.pid_mode,
        "ipc": spec.ipc_mode,
        "uts": spec.uts_mode,
        "network": spec.network_mode,
        "cgroup": spec.cgroupns_mode,
    }
    return frozenset(kind for kind, mode in modes.items() if mode == "host")


def _joined(parts: Parts, spec: ContainerSpec) -> dict[str, str]:
    modes = {"pid": spec.pid_mode, "ipc": spec.ipc_mode, "network": spec.network_mode}
    return {
        kind: f"/proc/{_running_pid(parts, mode)}/ns/{_PROC_FILES[kind]}"
        for kind, mode in modes.items()
        if mode.startswith("container:")
    }


def _shm(parts: Parts, spec: ContainerSpec) -> str:
    """What is bound at /dev/shm: another container's, the host's; empty for one of its own."""
    if not spec.ipc_mode.startswith("container:"):
        return ""
    other = _other(parts, spec.ipc_mode)
    if other.spec.ipc_mode == "host":
        return "/dev/shm"
    if other.spec.ipc_mode != "shareable":
        raise Conflict(
            f"cannot join IPC of container {other.id}: non-shareable IPC (hint: use "
            "IpcMode:shareable for the donor container)"
        )
    return f"{SHM}{_running_pid(parts, spec.ipc_mode)}"


def _other(parts: Parts, mode: str) -> ContainerRecord:
    return parts.store.resolve(mode.removeprefix("container:"))


def _running_pid(parts: Parts, mode: str) -> int:
    other = _other(parts, mode)
    if not other.state.running:
        raise Conflict(f"cannot join namespace of a non running container: {other.id}")
    return other.state.pid
