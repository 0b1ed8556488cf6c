"""``--gpus`` and ``--device vendor/class=name``: requests for devices that CDI files describe."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ketch.engine.spec import cdi
from ketch.engine.spec.cdi_registry import Registry
from ketch.errors import InvalidParameter, errno_text
from ketch.mounts import Mount

if TYPE_CHECKING:
    from ketch.engine.containers.limits import DeviceRequest

_GPU_KIND = "nvidia.com/gpu"
_OWN_HOOKS = frozenset({"prestart", "createRuntime", "startContainer"})
OciDevice = dict[str, object]


def edits(requests: Sequence[DeviceRequest], folders: Sequence[str]) -> cdi.Edits:
    """What the requests add to a container; raises ``InvalidParameter`` in Docker's words."""
    registry = Registry(folders)
    names: list[str] = []
    for request in requests:
        names += _names(request, registry)
    return registry.edits(names)


def _names(request: DeviceRequest, registry: Registry) -> list[str]:
    if request.driver == "cdi":
        if request.count or request.options:
            raise InvalidParameter("CDI device requests have neither Count nor Options")
        return list(request.ids)
    gpus = registry.names(_GPU_KIND)
    wants_gpu = any("gpu" in every for every in request.capabilities)
    if request.driver not in ("", "nvidia") or not wants_gpu or not gpus:
        shown = "[" + " ".join(f"[{' '.join(every)}]" for every in request.capabilities) + "]"
        raise InvalidParameter(
            f'could not select device driver "{request.driver}" with capabilities: {shown}'
        )
    return _gpus(request, gpus)


def _gpus(request: DeviceRequest, gpus: list[str]) -> list[str]:
    """By name or number, the first so many, or all."""
    if request.ids:
        return [f"{_GPU_KIND}={name}" for name in request.ids]
    if request.count < 0:
        everything = f"{_GPU_KIND}=all"
        return [everything] if everything in gpus else gpus
    single = [name for name in gpus if name != f"{_GPU_KIND}=all"]
    if request.count > len(single):
        raise InvalidParameter(f"{request.count} GPUs are asked for, and there are {len(single)}")
    return single[: request.count]


def check_supported(found: cdi.Edits, *, external: bool) -> None:
    """Raise ``InvalidParameter`` for edits that cannot be made.

    The hooks that need the container's mount namespace before its root is in place, or outlive
    the start, are run by ``external`` runtimes alone.
    """
    if found.net_devices or found.intel_rdt:
        raise InvalidParameter("CDI: netDevices and intelRdt are not supported by ketch")
    for hook in () if external else found.hooks:
        if hook.hook_name not in _OWN_HOOKS:
            raise InvalidParameter(
                f"CDI: the {hook.hook_name} hook {hook.path} is not supported by ketch's own "
                "runtime: use --runtime runc"
            )


def nodes(found: cdi.Edits) -> tuple[list[OciDevice], list[OciDevice]]:
    """``linux.devices`` and the cgroup rules of the device nodes."""
    devices = [_node(node) for node in found.device_nodes]
    rules: list[OciDevice] = [
        {
            "allow": True,
            "type": device["type"],
            "major": device["major"],
            "minor": device["minor"],
            "access": node.permissions or "rwm",
        }
        for node, device in zip(found.device_nodes, devices, strict=True)
        if device["type"] in ("b", "c")
    ]
    return devices, rules


def _node(node: cdi.Node) -> OciDevice:
    kind, major, minor = node.type, node.major, node.minor
    mode, uid, gid = node.file_mode, node.uid, node.gid
    if not kind or (kind != "p" and (major is None or minor is None)):
        host = _host_node(node.host_path or node.path)
        kind = "b" if stat.S_ISBLK(host.st_mode) else "c"
        major, minor = os.major(host.st_rdev), os.minor(host.st_rdev)
        mode = stat.S_IMODE(host.st_mode) if mode is None else mode
        uid = host.st_uid if uid is None else uid
        gid = host.st_gid if gid is None else gid
    return {
        "path": node.path,
        "type": "c" if kind == "u" else kind,
        "major": major or 0,
        "minor": minor or 0,
        "fileMode": 0o666 if mode is None else mode & 0o7777,
        "uid": uid or 0,
        "gid": gid or 0,
    }


def _host_node(path: str) -> os.stat_result:
    try:
        found = os.stat(path)
    except OSError as error:
        raise InvalidParameter(f"CDI device node {path}: {errno_text(error)}") from None
    if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        raise InvalidParameter(f"CDI device node {path}: it is no device")
    return found


def mounts(found: cdi.Edits) -> tuple[Mount, ...]:
    """The mounts, to be made after the user's."""
    made = []
    for bind in found.mounts:
        kind = bind.type or "bind"
        words = bind.options
        if kind == "bind" and not {"bind", "rbind"} & set(words):
            words = ("rbind", *words)
        made.append(Mount(kind, bind.host_path, bind.container_path, words))
    return tuple(made)


def injected(config: dict[str, Any], found: cdi.Edits, *, external: bool) -> dict[str, Any]:
    """An OCI configuration with the edits; raises ``InvalidParameter`` for what cannot be made."""
    check_supported(found, external=external)
    devices, rules = nodes(found)
    linux, process = config["linux"], config["process"]
    resources = linux["resources"]
    env = dict(entry.partition("=")[::2] for entry in (*process["env"], *found.env))
    return {
        **config,
        "process": {**process, "env": [f"{name}={value}" for name, value in env.items()]},
        "mounts": [
            *config["mounts"],
            *(
                {
                    "destination": mount.target,
                    "type": mount.type,
                    "source": mount.source,
                    "options": list(mount.options),
                }
                for mount in mounts(found)
            ),
        ],
        "linux": {
            **linux,
            "devices": [*linux["devices"], *devices],
            "resources": {**resources, "devices": [*resources["devices"], *rules]},
        },
        "hooks": hooks(found),
    }


def hooks(found: cdi.Edits) -> dict[str, list[dict[str, object]]]:
    """OCI ``hooks``."""
    made: dict[str, list[dict[str, object]]] = {}
    for hook in found.hooks:
        entry: dict[str, object] = {"path": hook.path}
        if hook.args is not None:
            entry["args"] = list(hook.args)
        if hook.env is not None:
            entry["env"] = list(hook.env)
        if hook.timeout is not None:
            entry["timeout"] = hook.timeout
        made.setdefault(hook.hook_name, []).append(entry)
    return made
