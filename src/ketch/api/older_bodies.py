"""What a create body means in an older API version: members that it did not have are not read.

Docker does the same, so that a client which sends more than its version knows gets what that
version gave. Source: Docker's "Engine API version history".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.api.schema.host import ForBind
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from ketch.api.schema.container import ContainerCreate
    from ketch.api.schema.exec import ExecCreate
    from ketch.api.schema.host import Host, Mount, Update
    from ketch.api.versions import Version

_HOST_SINCE = {
    "AutoRemove": (1, 25),  # clients before removed it themselves
    "KernelMemoryTCP": (1, 40),
    "CgroupnsMode": (1, 41),
    "ConsoleSize": (1, 42),
    "Annotations": (1, 43),
}
_MOUNT_SINCE = {
    "BindOptions": {
        "NonRecursive": (1, 40),
        "CreateMountpoint": (1, 42),
        "ReadOnlyNonRecursive": (1, 44),
        "ReadOnlyForceRecursive": (1, 44),
    },
    "VolumeOptions": {"Subpath": (1, 45)},
    "TmpfsOptions": {"Options": (1, 46)},
}


def forget_newer(body: ContainerCreate, version: Version) -> None:
    """Take out of ``body`` what came after ``version`` or went before it.

    Raises ``InvalidParameter`` for several networks before API 1.44, which could not join them.
    """
    if body.HostConfig is not None:
        _forget_host(body.HostConfig, version)
    if version < (1, 44) and body.Healthcheck is not None:
        body.Healthcheck.StartInterval = None
    asked = (body.NetworkingConfig and body.NetworkingConfig.EndpointsConfig) or {}
    if version < (1, 44) and len(asked) > 1:
        names = ", ".join(sorted(asked))
        raise InvalidParameter(f"Container cannot be connected to network endpoints: {names}")
    for settings in asked.values():
        if settings is not None and version < (1, 44):
            settings.MacAddress = None
        if settings is not None and version < (1, 48):
            settings.GwPriority = None


def _forget_host(host: Host, version: Version) -> None:
    for name, since in _HOST_SINCE.items():
        if version < since:
            setattr(host, name, None)
    if version >= (1, 42):
        host.KernelMemory = None
    if version < (1, 40):
        host.IpcMode = host.IpcMode or "shareable"  # the only way that there was
    for mount in host.Mounts or ():
        _forget_mount(mount, version)


def _forget_mount(mount: Mount, version: Version) -> None:
    for options, members in _MOUNT_SINCE.items():
        value = getattr(mount, options)
        for name, since in members.items():
            if value is not None and version < since:
                setattr(value, name, None)
    if version < (1, 44) and mount.Type == "bind" and mount.ReadOnly:
        mount.BindOptions = mount.BindOptions or ForBind()
        mount.BindOptions.ReadOnlyNonRecursive = True  # the only way that there was


def forget_newer_update(body: Update, version: Version) -> None:
    """The same for an update."""
    if version < (1, 40):
        body.PidsLimit = None


def forget_newer_exec(body: ExecCreate, version: Version) -> None:
    """The same for an exec."""
    if version < (1, 42):
        body.ConsoleSize = None
