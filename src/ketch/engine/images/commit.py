"""Making images of layers that are stored: for builds, commits and imports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping

import msgspec

from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.images.changes import apply_changes
from ketch.engine.images.gc import Collector
from ketch.engine.images.parts import ImageParts
from ketch.engine.images.store import StoredImage
from ketch.engine.images.values import CommitOptions, ImageRecord, ImportOptions, NewImage
from ketch.engine.pipes import fed
from ketch.engine.progress import Emit, Progress
from ketch.errors import InvalidParameter, NotFound
from ketch.oci import digest as digests
from ketch.oci import image as images
from ketch.oci import platform as platforms
from ketch.oci import reference as references
from ketch.oci.image import Health, History, ImageConfig, RootFS, RunConfig
from ketch.oci.reference import Reference


class Maker:
    """See the module's docstring."""

    def __init__(self, parts: ImageParts, collector: Collector) -> None:
        self._parts = parts
        self._collector = collector

    async def create(self, new: NewImage, *, tell: bool = False) -> ImageRecord:
        """Store a configuration and record the image; see ``Images.create``. ``tell``: that it was
        made is an event too, as that of a commit is."""
        names = [tag_reference(tag) for tag in new.tags]
        config = images.decode(new.config)
        if config.diff_ids != new.layers:
            raise InvalidParameter("the image configuration names other layers than were given")
        image_id = digests.of(new.config)
        with self._parts.leases.lease("create image", new.layers) as lease:
            lease.add(image_id)
            size = self._known_size(image_id)
            if size is None:
                size = await asyncio.to_thread(self._keep, new)
            image = StoredImage(
                id=image_id,
                layers=new.layers,
                created_at=config.created_at,
                size=size,
                parent=new.parent,
            )
            return self._record(image, names, tell)

    def _known_size(self, image_id: str) -> int | None:
        """Of an image that is here already."""
        store = self._parts.store
        known = image_id in store and self._parts.content.has(image_id)
        return store.get(image_id).size if known else None

    def _keep(self, new: NewImage) -> int:
        """Store the configuration; the size of the layers."""
        self._parts.content.put(new.config)
        return sum(self._parts.snapshots.layer(diff_id).size for diff_id in new.layers)

    def _record(self, image: StoredImage, names: list[Reference], tell: bool) -> ImageRecord:
        store, content = self._parts.store, self._parts.content
        if not content.has(image.id) or not all(map(self._parts.snapshots.has_layer, image.layers)):
            raise NotFound("layers of the image were collected while it was made: try again")
        store.put(image, names)
        if tell:
            self._parts.publish("create", image.id, image.id)
        for name in names:
            self._parts.publish("tag", image.id, name.familiar)
        return store.record(store.get(image.id))

    async def commit(
        self, config: ImageConfig, layers: tuple[str, ...], options: CommitOptions
    ) -> ImageRecord:
        """Make an image of a container; see ``Images.commit``."""
        changed = await apply_changes(config, options.changes)
        if options.overrides is not None:
            run = overridden(changed.run, options.overrides)
            changed = msgspec.structs.replace(changed, config=run)
        now = images.format_time(time.time_ns())
        step = History(
            created=now,
            created_by=" ".join(config.run.cmd or ()),
            author=options.author,
            comment=options.comment,
        )
        changed = msgspec.structs.replace(
            changed,
            created=now,
            author=options.author,
            comment=options.comment,
            rootfs=RootFS(diff_ids=list(layers)),
            history=[*(config.history or ()), step],
        )
        tags = (options.reference,) if options.reference else ()
        new = NewImage(config=images.encode(changed), layers=layers, tags=tags)
        return await self.create(new, tell=True)

    async def import_(
        self, stream: AsyncIterator[bytes], options: ImportOptions, emit: Emit
    ) -> None:
        """Make an image of a root file system; see ``Images.import_``."""
        tags = (options.reference,) if options.reference else ()
        for tag in tags:
            tag_reference(tag)
        target = platforms.parse(options.platform) if options.platform else platforms.host()
        now = images.format_time(time.time_ns())
        comment = options.message or f"Imported from {options.source}"
        config = ImageConfig(
            created=now,
            comment=comment,
            architecture=target.architecture,
            os=target.os,
            variant=target.variant,
            config=RunConfig(),
            history=[History(created=now, comment=comment)],
        )
        config = await apply_changes(config, options.changes)  # wrong ones fail before the upload
        async with self._collector.held():
            layer = await fed(stream, lambda fd: self._parts.ingest(fd, ""))
            config = msgspec.structs.replace(config, rootfs=RootFS(diff_ids=[layer.diff_id]))
            image = await self.create(
                NewImage(config=images.encode(config), layers=(layer.diff_id,), tags=tags)
            )
        self._parts.publish("import", image.id, options.reference or image.id)
        emit(Progress(status=image.id))


_TAKEN_FOR_DIGESTS = tuple(f"library/{name}" for name in ("sha256", "sha384", "sha512"))


def tag_reference(text: str) -> Reference:
    """A name for an image; ``latest`` when it says no tag. Raises ``InvalidParameter``."""
    name = references.parse(text)
    if name.digest:
        raise InvalidParameter("refusing to create a tag with a digest reference")
    if name.domain == references.DEFAULT_DOMAIN and name.path in _TAKEN_FOR_DIGESTS:
        raise InvalidParameter("refusing to create an ambiguous tag using digest algorithm as name")
    return name.tagged()


def overridden(run: RunConfig, spec: ContainerSpec) -> RunConfig:
    """``run`` with what ``spec`` says in its place; variables, labels and ports are united."""
    single: Mapping[str, object] = {
        "cmd": list(spec.cmd) if spec.cmd else None,
        "entrypoint": list(spec.entrypoint) if spec.entrypoint else None,
        "user": spec.user,
        "working_dir": spec.working_dir,
        "stop_signal": spec.stop_signal,
        "shell": list(spec.shell) or None,
        "stop_timeout": spec.stop_timeout,
        "healthcheck": _health(spec),
    }
    changes = {key: value for key, value in single.items() if value}
    named = {entry.partition("=")[0] for entry in spec.env}
    env = [entry for entry in run.env or () if entry.partition("=")[0] not in named]
    changes |= {
        "env": [*env, *spec.env] or None,
        "labels": {**(run.labels or {}), **spec.labels} or None,
        "exposed_ports": _united(run.exposed_ports, spec.exposed_ports),
        "volumes": _united(run.volumes, spec.anonymous_volumes),
    }
    return msgspec.structs.replace(run, **changes)


def _united(old: dict[str, object] | None, new: tuple[str, ...]) -> dict[str, object] | None:
    return {**(old or {}), **{key: {} for key in new}} or None


def _health(spec: ContainerSpec) -> Health | None:
    check = spec.healthcheck
    if check is None:
        return None
    return Health(
        test=list(check.test) or None,
        interval=check.interval,
        timeout=check.timeout,
        start_period=check.start_period,
        start_interval=check.start_interval,
        retries=check.retries,
    )
