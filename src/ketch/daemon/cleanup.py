"""``ketchd --cleanup``: take away what a daemon leaves for its successor.

A daemon that ends leaves its containers running, and for the next one the launcher, the bridges,
the firewall table, the parent cgroup and the exec root. This removes them, when no container runs;
the data root stays, and what others made. For uninstalling, and for daemons that are made for one
purpose.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING

from ketch.daemon import listeners
from ketch.daemon.pidfile import LockedFile
from ketch.engine.containers.cgroup import hierarchies
from ketch.engine.containers.store import ContainerStore
from ketch.engine.events.events import Events
from ketch.engine.networks.networks import Networks
from ketch.errors import Conflict, KetchError, Unavailable
from ketch.linux import mountapi
from ketch.runtime.cgroups.group import descendants_of
from ketch.runtime.remote import Launcher
from ketch.state.database import Database
from ketch.volumes.mountinfo import mounted_below

if TYPE_CHECKING:
    from ketch.daemon.settings import Settings
    from ketch.engine.networks.values import NetworkConfig

_PATIENCE = 15.0  # seconds for all control groups together: a busy machine ends nobody at once
_PAUSE = 0.02  # seconds
_FILES = ("launcher.pid", "launcher.log", "launcher.sock")
_FOLDERS = ("shims", "layers", "rehearsal", "runtimes", "build-secrets")


async def clean_up(settings: Settings, networks: NetworkConfig) -> None:
    """Raises ``Conflict`` when containers run; ``KetchError`` when a daemon does."""
    if not os.path.exists(f"{settings.data_root}/ketch.db"):
        return
    os.makedirs(settings.exec_root, exist_ok=True)
    lock = LockedFile(settings.pid_path)
    database = Database(f"{settings.data_root}/ketch.db")
    try:
        running = [record.name for record in ContainerStore(database) if record.state.running]
        if running:
            raise Conflict(
                f"containers are running ({', '.join(running[:5])}): remove them before --cleanup"
            )
        await _end_launcher(settings.exec_root)
        await Networks(networks, database, Events(database)).teardown()
        await _remove_cgroups(settings.cgroup_parent)
        for place in reversed(mounted_below(f"{settings.data_root}/volumes")):
            mountapi.umount(place, mountapi.MNT_DETACH)
        _remove_stale_sockets(settings)
    except BaseException:
        lock.release()
        raise
    else:
        _remove_exec_root(settings.exec_root)
        lock.remove()
    finally:
        database.close()
    with contextlib.suppress(OSError):  # something of others is in it, or it is a mount
        os.rmdir(settings.exec_root)


async def _end_launcher(exec_root: str) -> None:
    try:
        launcher = await Launcher.connect(exec_root)
    except Unavailable:
        return
    await launcher.shutdown()


async def _remove_cgroups(parent: str) -> None:
    """The parent in every hierarchy (never the root), with groups below it that are empty.

    The launcher's warm members may be on their way out. What has processes stays.
    """
    if not parent.strip("/"):
        return
    deadline = time.monotonic() + _PATIENCE
    for hierarchy in hierarchies():
        directory = f"{hierarchy.mount}{parent}"
        while not _gone(directory) and time.monotonic() < deadline:
            await asyncio.sleep(_PAUSE)


def _gone(directory: str) -> bool:
    for path in descendants_of(directory):
        with contextlib.suppress(OSError):  # somebody is in it
            os.rmdir(path)
    return not os.path.exists(directory)


def _remove_stale_sockets(settings: Settings) -> None:
    """Those that a killed daemon listened on; one that answers has another owner."""
    for host in settings.listeners:
        scheme, _, path = host.partition("://")
        if scheme == "unix" and os.path.exists(path):
            with contextlib.suppress(KetchError):
                listeners.remove_stale(path)


def _remove_exec_root(exec_root: str) -> None:
    """What the daemon and its launcher made there, by name."""
    for name in _FILES:
        with contextlib.suppress(OSError):
            os.unlink(f"{exec_root}/{name}")
    for name in _FOLDERS:
        with contextlib.suppress(OSError):
            os.rmdir(f"{exec_root}/{name}")
