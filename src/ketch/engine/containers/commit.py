"""Making an image of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ketch.engine.containers import cgroup as container_cgroup
from ketch.engine.containers.image import config_of
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.engine.images.values import CommitOptions
from ketch.engine.storing import storing
from ketch.oci import reference as references

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts


class Committer:
    """See the module's docstring."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def commit(self, ref: str, options: CommitOptions) -> str:
        """Store the writable layer as a layer and an image over it; returns the image's ID."""
        async with self._parts.images.hold():  # the layer has no name until the image has a record
            async with self._parts.store.locked(ref) as record:
                layer = await self._frozen_layer(record, options)
            return await self._store(record, str(layer["diff_id"]), options)

    async def _frozen_layer(
        self, record: ContainerRecord, options: CommitOptions
    ) -> dict[str, Any]:
        pauses = options.pause and record.state.status is Status.RUNNING
        if pauses:
            await self._freeze(record, True)
        try:
            return await self._layer(record.id)
        finally:
            if pauses:
                await self._freeze(record, False)

    async def _layer(self, key: str) -> dict[str, Any]:
        root = self._parts.config.data_root
        args = {"root": root, "snapshotter": self._parts.snapshots.name, "key": key}
        with storing(f"a layer in {root}"):
            return await self._parts.launcher.work("ketch.snapshots.tasks:ingest_diff", args)

    async def _freeze(self, record: ContainerRecord, frozen: bool) -> None:
        await container_cgroup.freeze(record.state, frozen)
        self._parts.publish(record, "pause" if frozen else "unpause")

    async def _store(self, record: ContainerRecord, layer: str, options: CommitOptions) -> str:
        images = self._parts.images
        base = images.config(record.image_id)
        config = msgspec.structs.replace(base, config=config_of(record.spec, base))
        layers = (*record.layers, layer)
        image = await images.commit(config, layers, options)
        self._parts.publish(
            record,
            "commit",
            comment=options.comment,
            imageID=image.id,
            imageRef=references.parse(options.reference).familiar if options.reference else "",
        )
        return image.id
