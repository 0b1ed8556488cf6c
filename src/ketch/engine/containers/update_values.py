"""What an update of a container asks for, and what it did."""

from __future__ import annotations

import msgspec

from ketch.engine.containers.limits import Resources
from ketch.engine.containers.spec import MountSpec, PortSpec, RestartPolicy


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What ``update`` changes of a container beyond Docker's limits.

    Ports to remove are ``[[IP:]HOST:]PORT[/PROTOCOL]``, mounts their targets.
    """

    ports_add: tuple[PortSpec, ...] = ()
    ports_remove: tuple[str, ...] = ()
    labels_add: dict[str, str] = {}
    labels_remove: tuple[str, ...] = ()
    env_add: tuple[str, ...] = ()
    env_remove: tuple[str, ...] = ()
    mounts_add: tuple[MountSpec, ...] = ()
    mounts_remove: tuple[str, ...] = ()


class UpdateOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What ``update`` changes; zero values of ``resources`` mean: leave as it is."""

    resources: Resources | None = None
    restart: RestartPolicy | None = None
    changes: Changes | None = None


class Updated(msgspec.Struct, frozen=True, kw_only=True):
    """What an update did: names of what holds now, and of what the next start brings."""

    warnings: tuple[str, ...] = ()
    live: tuple[str, ...] = ()
    next_start: tuple[str, ...] = ()
