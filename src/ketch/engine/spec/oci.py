"""From a container's record to an OCI runtime configuration (runtime-spec config.md; pure).

Everything that had to be looked up or made first is in ``Place``; what is left is a mapping.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ketch.engine.containers.limits import Ulimit
from ketch.engine.containers.record import ContainerRecord
from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.spec import capabilities as spec_capabilities
from ketch.engine.spec import security as spec_security
from ketch.engine.spec.merge import process_env
from ketch.engine.spec.resources import oci_resources, rlimits
from ketch.mounts import Mount
from ketch.runtime import defaults

_MASKED_PATHS = tuple(defaults.masked_paths())  # the machine's CPUs are counted once


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine has decided or made for one run of a container.

    ``joined`` maps a namespace (OCI name) to the path of one to join; ``shared`` names those of
    the host. ``mounts`` are the user's, ready to execute; ``devices`` and ``device_rules`` OCI
    objects; ``cgroup`` the path below each hierarchy.
    """

    hostname: str
    cgroup: str
    env: tuple[str, ...] = ()  # below the specification's
    etc: str = ""  # directory with hostname, hosts and resolv.conf; empty: none is mounted
    etc_files: tuple[str, ...] = ("hostname", "hosts", "resolv.conf")  # what of it is mounted
    joined: dict[str, str] = {}
    shared: frozenset[str] = frozenset()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[dict[str, Any], ...] = ()
    device_rules: tuple[dict[str, Any], ...] = ()
    block_io: dict[str, object] = {}  # limits per device
    ulimits: tuple[Ulimit, ...] = ()  # the container's and the engine's
    shm: str = ""  # source of the bind at /dev/shm; empty: a tmpfs of the container's own


def oci_config(record: ContainerRecord, place: Place) -> dict[str, Any]:
    """The whole configuration."""
    spec = record.spec
    return {
        "ociVersion": "1.2.0",
        "hostname": place.hostname,
        "domainname": spec.domainname,
        "process": _process(spec, place),
        "root": {"path": "rootfs", "readonly": spec.read_only_rootfs},
        "mounts": _mounts(spec, place),
        "annotations": dict(spec.annotations),
        "linux": _linux(spec, place),
    }


def _process(spec: ContainerSpec, place: Place) -> dict[str, Any]:
    args = [*(spec.entrypoint or ()), *(spec.cmd or ())]
    process: dict[str, Any] = {
        "terminal": spec.tty,
        "user": {"uid": 0, "gid": 0},  # the shim resolves names in the container's own files
        "args": args,
        "env": process_env((*place.env, *spec.env), hostname=place.hostname, tty=spec.tty),
        "cwd": spec.working_dir or "/",
        "capabilities": capabilities(spec),
        "rlimits": rlimits(place.ulimits),
        "noNewPrivileges": spec_security.flag(spec, "no-new-privileges"),
    }
    if spec.oom_score_adj:
        process["oomScoreAdj"] = spec.oom_score_adj
    return process


def capabilities(spec: ContainerSpec) -> dict[str, list[str]]:
    """The sets of the process; inheritable and ambient stay empty (capabilities(7))."""
    names = spec_capabilities.effective(
        defaults.CAPABILITIES,
        add=spec.cap_add,
        drop=spec.cap_drop,
        privileged=spec.privileged,
    )
    return {"bounding": names, "effective": names, "permitted": names}


def _linux(spec: ContainerSpec, place: Place) -> dict[str, Any]:
    linux: dict[str, Any] = {
        "namespaces": _namespaces(place),
        "cgroupsPath": place.cgroup,
        "resources": oci_resources(spec.resources, _device_rules(spec, place), place.block_io),
        "devices": list(place.devices),
        "maskedPaths": _paths(spec, spec.masked_paths, _MASKED_PATHS),
        "readonlyPaths": _paths(spec, spec.readonly_paths, defaults.READONLY_PATHS),
        "sysctl": _sysctls(spec, place),
    }
    if any(option in ("rshared", "shared") for m in place.mounts for option in m.options):
        linux["rootfsPropagation"] = "shared"
    return linux


def _sysctls(spec: ContainerSpec, place: Place) -> dict[str, str]:
    own_network = "network" not in place.shared and "network" not in place.joined
    return {**(defaults.SYSCTLS if own_network else {}), **spec.sysctls}


def _namespaces(place: Place) -> list[dict[str, str]]:
    return [
        {"type": kind, "path": place.joined[kind]} if kind in place.joined else {"type": kind}
        for kind in defaults.NAMESPACES
        if kind not in place.shared
    ]


def _device_rules(spec: ContainerSpec, place: Place) -> list[dict[str, Any]]:
    if spec.privileged:
        return [{"allow": True, "access": "rwm"}]
    return [*defaults.device_rules(), *place.device_rules]


def _paths(
    spec: ContainerSpec, asked: tuple[str, ...] | None, default: tuple[str, ...]
) -> list[str]:
    if asked is not None:
        return list(asked)
    return [] if spec.privileged else list(default)


def _mounts(spec: ContainerSpec, place: Place) -> list[dict[str, Any]]:
    """Pseudo filesystems, our files below /etc, then the user's: parents before children.

    A user's mount takes the place of a default one with the same target.
    """
    users = sorted(place.mounts, key=lambda mount: mount.target.rstrip("/").count("/"))
    targets = {mount.target for mount in users}
    own = [*_pseudo(spec, place), *_etc(place, spec.read_only_rootfs)]
    return [
        *(mount for mount in own if mount["destination"] not in targets),
        *(_oci_mount(mount) for mount in users),
    ]


def _pseudo(spec: ContainerSpec, place: Place) -> list[dict[str, Any]]:
    mounts = defaults.default_mounts(spec.shm_size)
    return [
        _adapted(mount, spec, place)
        for mount in mounts
        if spec.ipc_mode != "none" or mount["destination"] != "/dev/shm"
    ]


def _adapted(mount: dict[str, Any], spec: ContainerSpec, place: Place) -> dict[str, Any]:
    target = mount["destination"]
    writable = spec.privileged or (
        target == "/sys/fs/cgroup" and spec_security.flag(spec, "writable-cgroups")
    )
    if writable and target in ("/sys", "/sys/fs/cgroup"):
        return {**mount, "options": [word for word in mount["options"] if word != "ro"]}
    if "ipc" in place.shared and target == "/dev/shm":  # a new mqueue shows the joined namespace's
        return _bind(target, target, "rbind", "nosuid", "noexec", "nodev")
    if place.shm and target == "/dev/shm":
        return _bind(place.shm, target, "bind", "nosuid", "noexec", "nodev")
    return mount


def _etc(place: Place, read_only: bool) -> list[dict[str, Any]]:
    if not place.etc:
        return []
    options = ("rbind", "rprivate", *(("ro",) if read_only else ()))
    return [_bind(f"{place.etc}/{name}", f"/etc/{name}", *options) for name in place.etc_files]


def _bind(source: str, target: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": "bind", "source": source, "options": list(options)}


def _oci_mount(mount: Mount) -> dict[str, Any]:
    return {
        "destination": mount.target,
        "type": mount.type,
        "source": mount.source,
        "options": list(mount.options),
    }
