"""Changing containers that are there: name, limits, restart policy, and what ``Changer`` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ketch.engine.containers import cgroup as container_cgroup
from ketch.engine.containers import links as container_links
from ketch.engine.containers import names as container_names
from ketch.engine.containers.change import Changer, Plan
from ketch.engine.containers.limits import Resources
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.containers.update_values import Updated, UpdateOptions
from ketch.engine.spec import kernel as spec_kernel
from ketch.engine.spec import limits as spec_limits
from ketch.engine.spec import resources as spec_resources
from ketch.engine.spec import validate as spec_validate
from ketch.errors import Conflict, InvalidParameter

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts


class Updater:
    """See the module's docstring."""

    def __init__(self, parts: Parts, facts: spec_validate.Facts) -> None:
        self._parts = parts
        self._facts = facts
        self._changer = Changer(parts, facts)

    async def rename(self, ref: str, name: str) -> None:
        """Give another name; raises ``InvalidParameter``, ``Conflict``."""
        if not name:
            raise InvalidParameter("Neither old nor new names may be empty")
        try:
            new = container_names.check("/" + name.removeprefix("/"))
        except InvalidParameter as error:
            raise InvalidParameter(f"Error when allocating new name: {error}") from None
        async with self._parts.store.locked(ref) as record:
            if new == record.name:
                raise InvalidParameter(
                    "Renaming a container with the same name as its current name"
                )
            renamed = msgspec.structs.replace(record, name=new)
            try:
                with self._parts.telling(renamed, "rename", oldName=f"/{record.name}"):
                    self._parts.store.rename(record, new)
                    container_links.renamed(self._parts.store, renamed)
            except Conflict as error:
                raise Conflict(f"Error when allocating new name: {error}") from None

    async def update(self, ref: str, options: UpdateOptions) -> Updated:
        """Change the record, and the cgroup and the ports of a running container; all or nothing.

        Raises ``InvalidParameter``, ``Conflict``, ``KetchError`` for a port that is taken.
        """
        async with self._parts.store.locked(ref) as record:
            if record.state.status in (Status.REMOVING, Status.DEAD):
                raise Conflict(f"Cannot update container {record.id}: it is being removed")
            plan = Plan()
            if options.changes is not None:
                plan = await self._changer.plan(record, options.changes)
            try:
                told = self._carry_out(self._parts.store.by_id(record.id), options, plan)
            except BaseException:
                await self._changer.take_back(plan)
                raise
            shim = self._parts.live[record.id].shim
            if shim is not None and "ports" in told.live:
                await self._parts.networks.carry_ports(record.id, shim)
            return told

    def _carry_out(self, record: ContainerRecord, options: UpdateOptions, plan: Plan) -> Updated:
        spec, warnings = record.spec, tuple[str, ...]()
        live = None
        if options.restart is not None:
            spec = self._with_policy(record, options)
        if options.resources is not None:
            change, warnings = spec_kernel.fitted(options.resources, self._facts.kernel)
            new = self._resources(record, change)
            spec = msgspec.structs.replace(spec, resources=new)
            live = _live(new, change)

        def set_limits() -> None:
            if live is not None and record.state.running:
                container_cgroup.update(record.state, live)

        told = self._changer.carry_out(record, spec, plan, set_limits)
        return msgspec.structs.replace(told, warnings=(*warnings, *told.warnings))

    def _with_policy(self, record: ContainerRecord, options: UpdateOptions) -> ContainerSpec:
        assert options.restart is not None
        spec_validate.check_restart(options.restart)
        if record.spec.auto_remove and options.restart.name not in ("", "no"):
            raise InvalidParameter(
                "Restart policy cannot be updated because AutoRemove is enabled for the container"
            )
        return msgspec.structs.replace(record.spec, restart=options.restart)

    def _resources(self, record: ContainerRecord, change: Resources) -> Resources:
        old = record.spec.resources
        if change.memory and not change.memory_swap and 0 < old.memory_swap < change.memory:
            raise Conflict(
                f"Cannot update container {record.id}: Memory limit should be smaller than "
                "already set memoryswap limit, update the memoryswap at the same time"
            )
        try:
            _check_conflicts(old, change)
            new = spec_resources.updated(old, change)
            spec_limits.check(new, self._facts.cpus, self._facts.kernel)
        except InvalidParameter as error:
            raise InvalidParameter(f"Cannot update container {record.id}: {error}") from None
        return new


def _check_conflicts(old: Resources, change: Resources) -> None:
    """Two ways to say how much of the CPUs there is: whoever chose one must keep to it."""
    conflicts = (
        (change.nano_cpus and old.cpu_quota > 0, "NanoCPUs", "CPU Quota"),
        (change.nano_cpus and old.cpu_period, "NanoCPUs", "CPU Period"),
        (change.cpu_quota and old.nano_cpus, "CPU Quota", "NanoCPUs"),
        (change.cpu_period and old.nano_cpus, "CPU Period", "NanoCPUs"),
    )
    for found, asked, present in conflicts:
        if found:
            raise InvalidParameter(
                f"Conflicting options: {asked} cannot be updated as {present} has already been set"
            )


def _live(new: Resources, change: Resources) -> Resources:
    """What is written to the cgroup: the change, and what it is reckoned with (swap on v2)."""
    if change.memory_swap > 0 and not change.memory:
        return msgspec.structs.replace(change, memory=new.memory)
    return change
