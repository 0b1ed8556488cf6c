"""Host devices made visible in a container: from paths to OCI device objects and cgroup rules."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from ketch.engine.containers.limits import DeviceMap, Resources
from ketch.engine.spec.resources import device_rates
from ketch.errors import InvalidParameter, errno_text

Device = dict[str, object]
_MOST_LOOKED_AT = 20_000  # files of a directory of devices; /dev has some hundreds


def resolve(devices: tuple[DeviceMap, ...]) -> tuple[list[Device], list[Device]]:
    """``linux.devices`` and the cgroup rules that allow them.

    A directory stands for every device in it. Raises ``InvalidParameter`` for what is no device.
    """
    nodes: list[Device] = []
    rules: list[Device] = []
    for wanted in devices:
        for host_path, path in _expand(wanted):
            node = _node(host_path, path)
            nodes.append(node)
            rules.append(_rule(node, wanted.permissions))
    return nodes, rules


def host_devices() -> list[Device]:
    """Every device node below /dev but terminals and shared memory, for ``--privileged``."""
    everything = DeviceMap(host_path="/dev", container_path="/dev")
    skipped = ("/dev/pts/", "/dev/shm/", "/dev/mqueue/", "/dev/console", "/dev/fd", "/dev/std")
    return [
        _node(host_path, path)
        for host_path, path in _expand(everything)
        if not host_path.startswith(skipped)
    ]


def block_io(resources: Resources) -> dict[str, object]:
    """Limits per block device for ``linux.resources.blockIO``; raises ``InvalidParameter``."""
    return {
        name: [
            {**_block_device(rate.path), "weight" if "weight" in name else "rate": rate.value}
            for rate in rates
        ]
        for name, rates in device_rates(resources).items()
    }


def _block_device(path: str) -> dict[str, int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise InvalidParameter(f"block device {path}: {errno_text(error)}") from None
    if not stat.S_ISBLK(found.st_mode):
        raise InvalidParameter(f"block device {path}: it is no block device")
    return {"major": os.major(found.st_rdev), "minor": os.minor(found.st_rdev)}


def _expand(wanted: DeviceMap) -> Iterator[tuple[str, str]]:
    target = wanted.container_path or wanted.host_path
    if not os.path.isdir(wanted.host_path):
        yield wanted.host_path, target
        return
    found = False
    looked_at = 0
    for folder, _, names in os.walk(wanted.host_path):
        looked_at += 1 + len(names)
        if looked_at > _MOST_LOOKED_AT:
            raise _not_gathered(
                wanted.host_path,
                f"the directory holds more than {_MOST_LOOKED_AT} files: name the devices",
            )
        for name in sorted(names):
            path = os.path.join(folder, name)
            if _is_device(path):
                found = True
                yield path, os.path.join(target, os.path.relpath(path, wanted.host_path))
    if not found:
        raise _not_gathered(wanted.host_path, "not a device node")


def _not_gathered(path: str, why: str) -> InvalidParameter:
    return InvalidParameter(
        f'error gathering device information while adding custom device "{path}": {why}'
    )


def _is_device(path: str) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _node(host_path: str, path: str) -> Device:
    try:
        found = os.stat(host_path)
    except OSError as error:
        raise _not_gathered(host_path, errno_text(error)) from None
    if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        raise _not_gathered(host_path, "not a device node")
    return {
        "path": path,
        "type": "c" if stat.S_ISCHR(found.st_mode) else "b",
        "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev),
        "fileMode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
    }


def _rule(node: Device, access: str) -> Device:
    return {
        "allow": True,
        "type": node["type"],
        "major": node["major"],
        "minor": node["minor"],
        "access": access or "rwm",
    }
