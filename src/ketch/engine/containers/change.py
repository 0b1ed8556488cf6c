"""Changing ports, labels, environment and mounts of a container that is there.

Ports and labels change at once. A process that runs keeps its environment and its mounts, so new
ones wait in the record (``pending``) for the next start. The writable layer is not touched. What
takes time (making volumes) is done first; then one step of the event loop changes rules and record
together, or neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from ketch.engine.containers.mounts import Planner
from ketch.engine.containers.record import ContainerRecord, MountPoint, Pending
from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.containers.update_values import Changes, Updated
from ketch.engine.containers.volumes import fill_volumes
from ketch.engine.spec import update as spec_update
from ketch.engine.spec import validate as spec_validate
from ketch.errors import Conflict, NotFound

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a request comes to: ``added`` are the mount points of its new mounts."""

    changes: Changes = Changes()
    added: tuple[MountPoint, ...] = ()
    warnings: tuple[str, ...] = ()


class Changer:
    """See the module's docstring."""

    def __init__(self, parts: Parts, facts: spec_validate.Facts) -> None:
        self._parts = parts
        self._facts = facts
        self._planner = Planner(parts.store, parts.volumes, parts.images)

    async def plan(self, record: ContainerRecord, changes: Changes) -> Plan:
        """Check everything and make the volumes; raises ``InvalidParameter``, ``NotFound``…"""
        spec = spec_update.with_live(record.spec, changes)
        base, points = _next(record, spec)
        spec_update.check_removed_mounts((point.target for point in points), changes)
        following = spec_update.with_next(base, changes)
        warnings = spec_validate.validate(following, self._facts)
        if not changes.mounts_add:
            return Plan(changes=changes, warnings=warnings)
        only = msgspec.structs.replace(
            following, mounts=changes.mounts_add, anonymous_volumes=(), volumes_from=()
        )
        added = await self._planner.points(only)
        plan = Plan(changes=changes, added=added, warnings=warnings)
        try:
            async with self._parts.volumes.mounts.held(f"change {record.id}", added):
                await fill_volumes(self._parts, msgspec.structs.replace(record, spec=only), added)
        except BaseException:
            await self.take_back(plan)
            raise
        return plan

    async def take_back(self, plan: Plan) -> None:
        """The request failed: its new anonymous volumes go."""
        for point in plan.added:
            if point.type == "volume" and point.anonymous:
                try:
                    await self._parts.volumes.remove(point.name)
                except (Conflict, NotFound):
                    continue

    def carry_out(
        self, record: ContainerRecord, spec: ContainerSpec, plan: Plan, live: Callable[[], None]
    ) -> Updated:
        """Change the container as it is now, and tell; ``spec`` has what else the request changes.

        ``live`` sets limits of what runs; when it or anything else raises, all is as before.
        """
        changed = _changed(record, spec, plan)
        with self._parts.telling(changed, "update"):
            changed = self._carried_out(record, changed, live)
        return _told(changed, plan)

    def _carried_out(
        self, record: ContainerRecord, changed: ContainerRecord, live: Callable[[], None]
    ) -> ContainerRecord:
        if changed.spec.ports == record.spec.ports or not record.state.running:
            live()
            return self._parts.store.put(changed)
        try:
            with self._parts.networks.republished(changed) as bindings:
                live()
                state = msgspec.structs.replace(record.state, ports=bindings)
                changed = msgspec.structs.replace(changed, state=state)
                self._parts.store.put(changed)
        except BaseException:
            self._parts.store.undone(record)
            raise
        return changed


def with_pending(record: ContainerRecord) -> ContainerRecord:
    """The container with what waited for this start (pure)."""
    spec, points = _next(record, record.spec)
    return msgspec.structs.replace(record, spec=spec, mount_points=points, pending=None)


def _next(
    record: ContainerRecord, spec: ContainerSpec
) -> tuple[ContainerSpec, tuple[MountPoint, ...]]:
    """Specification and mount points of the next start, as far as decided."""
    waiting = record.pending
    if waiting is None:
        return spec, record.mount_points
    following = msgspec.structs.replace(
        spec,
        env=waiting.env,
        mounts=waiting.mounts,
        binds=waiting.binds,
        anonymous_volumes=waiting.anonymous_volumes,
    )
    return following, waiting.mount_points


def _changed(record: ContainerRecord, spec: ContainerSpec, plan: Plan) -> ContainerRecord:
    changes = plan.changes
    spec = spec_update.with_live(spec, changes)
    base, points = _next(record, spec)
    following = spec_update.with_next(base, changes)
    gone = {spec_update.clean(mount.target) for mount in changes.mounts_add}
    gone |= {spec_update.clean(target) for target in changes.mounts_remove}
    points = (*(point for point in points if point.target not in gone), *plan.added)
    same = following == spec and points == record.mount_points
    if same or not record.state.running:
        return msgspec.structs.replace(record, spec=following, mount_points=points, pending=None)
    waiting = Pending(
        env=following.env,
        mounts=following.mounts,
        binds=following.binds,
        anonymous_volumes=following.anonymous_volumes,
        mount_points=points,
    )
    return msgspec.structs.replace(record, spec=spec, pending=waiting)


def _told(new: ContainerRecord, plan: Plan) -> Updated:
    """Which of the things asked for hold now, and which wait."""
    changes, runs = plan.changes, new.state.running
    live: list[str] = []
    later: list[str] = []
    if changes.ports_add or changes.ports_remove:
        (live if runs else later).append("ports")
    if changes.labels_add or changes.labels_remove:
        live.append("labels")
    if changes.env_add or changes.env_remove:
        later.append("environment")
    if changes.mounts_add or changes.mounts_remove:
        later.append("mounts")
    return Updated(warnings=plan.warnings, live=tuple(live), next_start=tuple(later))
