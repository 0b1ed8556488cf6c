"""A running container's control group, found again from its record."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from functools import cache

from ketch.engine.containers.limits import Resources
from ketch.engine.containers.record import ContainerState
from ketch.engine.spec.devices import block_io
from ketch.engine.spec.resources import oci_resources
from ketch.errors import Conflict, KetchError, Unsupported, os_reason
from ketch.runtime.cgroups import files
from ketch.runtime.cgroups.group import Cgroup, remove_directories
from ketch.runtime.cgroups.hierarchy import Hierarchy, detect

_log = logging.getLogger("ketch.engine.containers")
_GONE = (errno.ENOENT, errno.ENODEV)  # ENODEV: removed between open(2) and read(2) or write(2)


@cache
def hierarchies() -> tuple[Hierarchy, ...]:
    """The machine's hierarchies; they do not change while the engine runs."""
    return detect()


def absolute(parent: str) -> str:
    """A parent as it is asked for, as a path below each hierarchy."""
    return "/" + "/".join(part for part in parent.split("/") if part)


def of(state: ContainerState) -> Cgroup:
    """The group of a container that runs; raises ``KetchError`` when its record names none."""
    directory = state.cgroup.get("freezer") or state.cgroup.get("unified") or ""
    for hierarchy in hierarchies():
        if directory.startswith(hierarchy.mount + "/"):
            parent, _, name = directory[len(hierarchy.mount) :].rpartition("/")
            return Cgroup(parent, name, hierarchies())
    raise KetchError("the container's control group is not known")


def share_realtime(parent: str, period: int, runtime: int) -> None:
    """Give ``parent`` real-time of the CPUs (microseconds), of which its containers get theirs.

    Only v1 has that (Documentation/scheduler/sched-rt-group.rst); a group can give no more than it
    has, so every group on the way needs some. Raises ``Unsupported`` when the kernel refuses.
    """
    tree = next((tree for tree in hierarchies() if "cpu" in tree.controllers), None)
    if tree is None or tree.version != 1 or not runtime:
        return
    directory = tree.mount
    for part in filter(None, parent.split("/")):
        directory = f"{directory}/{part}"
        os.makedirs(directory, exist_ok=True)
        if period:
            files.set_limit(directory, "cpu.rt_period_us", str(period), "cpu-rt-period")
        files.set_limit(directory, "cpu.rt_runtime_us", str(runtime), "cpu-rt-runtime")


def clear(state: ContainerState) -> None:
    """Kill what is left in the groups of a container that ended, and remove them."""
    try:
        of(state).kill()
        remove_directories(set(state.cgroup.values()))
    except (KetchError, OSError) as error:
        _log.warning("control groups are left until the next start of the daemon: %s", error)


def sweep(parent: str, name: str) -> None:
    """``clear`` for a container that never came to run; without a name there is nothing to do."""
    if not name:
        return
    try:
        Cgroup(parent, name, hierarchies()).destroy()
    except (KetchError, OSError) as error:
        _log.warning("control groups are left until the next start of the daemon: %s", error)


async def freeze(state: ContainerState, frozen: bool) -> None:
    """Stop or let go on; waits until the kernel says so, off the event loop.

    Raises ``Conflict`` when the group is gone, since the container has ended.
    """
    try:
        await asyncio.to_thread(of(state).freeze, frozen)
    except OSError as error:
        if error.errno in _GONE:
            raise Conflict("the container is not running: it has just ended") from None
        raise KetchError(f"cannot {'pause' if frozen else 'unpause'}: {os_reason(error)}") from None


async def freeze_again(state: ContainerState, frozen: bool) -> None:
    """See that it is frozen, or not, whatever a daemon that was killed left half done."""
    try:
        if of(state).is_frozen() != frozen:
            await freeze(state, frozen)
    except (KetchError, OSError) as error:
        _log.warning("a container cannot be %s: %s", "paused" if frozen else "unpaused", error)


def update(state: ContainerState, resources: Resources) -> None:
    """Set limits live; raises ``Unsupported`` naming the option that the kernel refuses.

    For a container that has just ended there is nothing to set: they count from its next start.
    """
    try:
        of(state).apply(oci_resources(resources, [], block_io(resources)))
    except Unsupported:
        if all(map(os.path.isdir, state.cgroup.values())):
            raise
