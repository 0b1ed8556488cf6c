"""Creating containers: image, checks, mounts, writable layer, and at last the durable record.

The record is written when everything it names exists; what a crash before that leaves behind is
swept at the next start. A name is looked at twice, early for a quick answer and when the record is
written, which happens in one step of the event loop.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from typing import TYPE_CHECKING

import msgspec

from ketch.engine.builder.steps import floor as builder_floor
from ketch.engine.containers import health_spec, log_options
from ketch.engine.containers import links as container_links
from ketch.engine.containers import names as container_names
from ketch.engine.containers.image import defaults_of
from ketch.engine.containers.log_wire import path_of
from ketch.engine.containers.mounts import Planner
from ketch.engine.containers.record import ContainerRecord, MountPoint
from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.containers.volumes import fill_volumes
from ketch.engine.spec import kernel as spec_kernel
from ketch.engine.spec import validate as spec_validate
from ketch.engine.spec.merge import merge
from ketch.engine.spec.resources import with_defaults
from ketch.errors import InvalidParameter, KetchError, NotFound, os_reason
from ketch.linux.nests import Nests

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts
    from ketch.oci.image import ImageConfig


class Creator:
    """See the module's docstring."""

    def __init__(self, parts: Parts, facts: spec_validate.Facts) -> None:
        self._parts = parts
        self._facts = facts
        self._planner = Planner(parts.store, parts.volumes, parts.images)
        self._nests = Nests(parts.config.data_root)

    async def create(self, spec: ContainerSpec, name: str) -> tuple[str, tuple[str, ...]]:
        """Create; returns the ID and warnings."""
        if name:
            name = container_names.check(name)
            self._parts.store.check_name(name)
        spec_validate.check_asked(spec)
        image = self._parts.images.resolve(spec.image, spec.platform)
        spec = self._completed(spec, self._parts.images.config(image.id))
        spec, discarded = self._fitted(spec)
        warnings = (*discarded, *spec_validate.validate(spec, self._facts))
        self._parts.filters.of(spec)  # a profile that can't be honoured is refused now
        self._check_joined(spec)
        links = container_links.resolved(self._parts.store, spec)
        record = ContainerRecord(
            id=secrets.token_hex(32),
            name=name,
            created_at=time.time_ns(),
            image_id=image.id,
            layers=image.layers,
            spec=spec,
            links=links,
        )
        record = await self._made(record)
        return record.id, warnings

    def _completed(self, spec: ContainerSpec, config: ImageConfig) -> ContainerSpec:
        merged = merge(health_spec.with_labels(spec), defaults_of(config))
        return msgspec.structs.replace(
            merged,
            resources=with_defaults(merged.resources),
            log=log_options.completed(merged.log, self._parts.config.log),
            runtime=self._parts.runtimes.chosen(merged.runtime),
        )

    def _fitted(self, spec: ContainerSpec) -> tuple[ContainerSpec, tuple[str, ...]]:
        resources, warnings = spec_kernel.fitted(spec.resources, self._facts.kernel)
        return msgspec.structs.replace(spec, resources=resources), warnings

    def _check_joined(self, spec: ContainerSpec) -> None:
        """Containers whose namespaces are joined must exist; raises ``InvalidParameter``.

        Not ``NotFound``, which clients take for a missing image, and pull.
        """
        for mode in (spec.pid_mode, spec.ipc_mode, spec.network_mode):
            if mode.startswith("container:"):
                self._must_exist(mode.removeprefix("container:"))
        for others in spec.volumes_from:
            self._must_exist(others.partition(":")[0])

    def _must_exist(self, ref: str) -> None:
        try:
            self._parts.store.resolve(ref)
        except NotFound as error:
            raise InvalidParameter(str(error)) from None

    async def _made(self, record: ContainerRecord) -> ContainerRecord:
        """Everything on disk, then the record; taken back when something fails."""
        points: tuple[MountPoint, ...] = ()
        try:
            points = await self._planner.points(record.spec)
            bundle = self._bundle(record.id)
            floor = await builder_floor.ensure(self._parts)
            self._parts.snapshots.prepare(record.id, (floor, *record.layers))
            async with self._parts.volumes.mounts.held(f"create {record.id}", points):
                await fill_volumes(self._parts, record, points)
            record = msgspec.structs.replace(
                record,
                name=record.name or container_names.generate(self._parts.store.name_taken),
                mount_points=points,
                bundle=bundle,
                log_path=path_of(bundle, record.id, record.spec.log),
            )
            with self._parts.telling(record, "create"):
                self._parts.store.add(record)
        except BaseException as error:
            await asyncio.shield(self._take_back(record.id, points))
            if isinstance(error, OSError):
                raise KetchError(f"cannot create the container: {os_reason(error)}") from error
            raise
        return record

    def _bundle(self, container_id: str) -> str:
        bundle = self._parts.config.bundle(container_id)
        made = self._nests.path(f"bundle-{container_id}")
        os.mkdir(made, 0o710)
        try:
            os.rename(made, bundle)
        except OSError:
            os.rmdir(made)
            raise
        return bundle

    async def _take_back(self, container_id: str, points: tuple[MountPoint, ...]) -> None:
        self._parts.snapshots.remove(container_id)
        self._parts.images.empty_trash_soon()
        try:
            os.rmdir(self._parts.config.bundle(container_id))
        except FileNotFoundError:
            pass
        for point in points:
            if point.type == "volume" and point.anonymous:
                try:
                    await self._parts.volumes.remove(point.name)
                except NotFound:
                    continue
