"""A container's mounts: from what was asked to ``MountPoint`` (at create) to ``Mount`` (at start).

Precedence as in Docker: mounts given by the request win over volumes of other containers, which
win over the image's anonymous volumes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from ketch.engine.containers.record import MountPoint
from ketch.engine.containers.spec import ContainerSpec, MountSpec
from ketch.engine.volumes.mount_propagation import check_propagation
from ketch.errors import InvalidParameter, KetchError, NotFound
from ketch.mounts import IMAGE, SUBPATH, Mount
from ketch.volumes.options import parse

if TYPE_CHECKING:
    from ketch.engine.containers.store import ContainerStore
    from ketch.engine.images.images import Images
    from ketch.engine.volumes.volumes import Volumes

_PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave")


class Planner:
    """Turns a specification's mounts into mount points; makes the volumes they need."""

    def __init__(self, store: ContainerStore, volumes: Volumes, images: Images) -> None:
        self._store = store
        self._volumes = volumes
        self._images = images

    async def points(self, spec: ContainerSpec) -> tuple[MountPoint, ...]:
        """All mount points, one per target; raises ``InvalidParameter``, ``NotFound``."""
        points: dict[str, MountPoint] = {}
        for target in spec.anonymous_volumes:
            points[_clean(target)] = MountPoint(type="volume", source="", target=_clean(target))
        for point in self._of_others(spec.volumes_from):
            points[_clean(point.target)] = point
        for mount in spec.mounts:
            points[_clean(mount.target)] = await self._point(mount)
        return tuple([await self._with_volume(point) for point in points.values()])

    def _of_others(self, refs: Iterable[str]) -> Iterable[MountPoint]:
        for ref in refs:
            name, _, mode = ref.partition(":")
            if mode not in ("", "ro", "rw", "z", "Z"):
                raise InvalidParameter(f"invalid mode for volumes-from: {mode}")
            for point in self._store.resolve(name).mount_points:
                if point.type != "tmpfs":
                    writable = point.writable and mode != "ro"
                    yield msgspec.structs.replace(point, writable=writable, anonymous=False)

    async def _point(self, mount: MountSpec) -> MountPoint:
        if mount.type == "bind":
            return _bind_point(mount)
        if mount.type == "tmpfs":
            return MountPoint(
                type="tmpfs", source="", target=_clean(mount.target), writable=not mount.read_only
            )
        if mount.type == "image":
            return self._image_point(mount)
        return await self._volume_point(mount)

    def _image_point(self, mount: MountSpec) -> MountPoint:
        try:
            image = self._images.resolve(mount.source)
        except NotFound as error:  # a 404 would make the CLI pull the container's own image
            raise InvalidParameter(f'invalid mount config for type "image": {error}') from None
        return MountPoint(
            type="image",
            source=mount.source,
            target=_clean(mount.target),
            name=image.id,
            writable=False,
            subpath=mount.subpath,
            layers=image.layers,
        )

    async def _volume_point(self, mount: MountSpec) -> MountPoint:
        volume = await self._volumes.create(
            mount.source,
            driver=mount.driver or "local",
            options=mount.driver_options,
            labels=mount.labels,
        )
        return MountPoint(
            type="volume",
            source=parse(volume.options).bound or volume.mountpoint,
            target=_clean(mount.target),
            name=volume.name,
            driver=volume.driver,
            mode=mount.mode or "z",
            writable=not mount.read_only,
            anonymous=volume.anonymous,
            subpath=mount.subpath,
        )

    async def _with_volume(self, point: MountPoint) -> MountPoint:
        """The point itself, or with a new anonymous volume where it has no source yet."""
        if point.type != "volume" or point.source:
            return point
        found = await self._volume_point(MountSpec(type="volume", target=point.target))
        return msgspec.structs.replace(found, mode="")


def _bind_point(mount: MountSpec) -> MountPoint:
    if not mount.source.startswith("/"):
        raise InvalidParameter(
            f"invalid mount config for type \"bind\": invalid mount path: '{mount.source}' mount "
            "path must be absolute"
        )
    if not mount.create_source and not os.path.lexists(mount.source):
        raise InvalidParameter(
            f'invalid mount config for type "bind": bind source path does not exist: {mount.source}'
        )
    if mount.propagation and mount.propagation not in _PROPAGATION:
        raise InvalidParameter(f"invalid propagation mode: {mount.propagation}")
    return MountPoint(
        type="bind",
        source=os.path.normpath(mount.source),
        target=_clean(mount.target),
        mode=mount.mode,
        writable=not mount.read_only,
        propagation=mount.propagation or "rprivate",
        recursive=mount.recursive,
        recursive_ro=mount.recursive_ro,
    )


def _clean(target: str) -> str:
    if not target.startswith("/"):
        raise InvalidParameter(f"invalid mount path: '{target}' mount path must be absolute")
    return os.path.normpath(target).replace("//", "/")


def executable(spec: ContainerSpec, points: tuple[MountPoint, ...]) -> tuple[Mount, ...]:
    """The mounts of one start; makes the missing directories of ``-v`` binds on the host."""
    asked = {_clean(mount.target): mount for mount in spec.mounts}
    images = {point.target: f"{IMAGE}{n}" for n, point in enumerate(image_points(points))}
    return tuple(
        _mount(point, asked.get(point.target), images.get(point.target, "")) for point in points
    )


def image_points(points: tuple[MountPoint, ...]) -> tuple[MountPoint, ...]:
    """Those whose source is an image, in the order in which the launcher mounts them."""
    return tuple(point for point in points if point.type == "image")


def _mount(point: MountPoint, asked: MountSpec | None, image: str) -> Mount:
    if image:
        return Mount("bind", image, point.target, _bind_options(point))
    if point.type == "tmpfs":
        return Mount("tmpfs", "tmpfs", point.target, _tmpfs_options(point, asked))
    if point.type == "bind" and not os.path.lexists(point.source):
        if asked is None or not asked.create_source:
            raise InvalidParameter(
                f'invalid mount config for type "bind": bind source path does not exist: '
                f"{point.source}"
            )
        os.makedirs(point.source, exist_ok=True)
    if point.type == "volume" and not os.path.lexists(point.source):
        raise KetchError(
            f"failed to mount local volume: {point.source} (volume {point.name}): no such file or "
            "directory"
        )
    check_propagation(point.source, point.propagation)
    return Mount("bind", point.source, point.target, _bind_options(point))


def _bind_options(point: MountPoint) -> tuple[str, ...]:
    """Without a word on access the mount stays as the host has it: a read-only one read-only.

    Nothing is mounted below a file, and crun fails when it is asked for that.
    """
    deep = point.recursive_ro and not os.path.isfile(point.source)
    read_only = () if point.writable else ("rro" if deep else "ro",)
    return (
        "rbind" if point.recursive else "bind",
        *read_only,
        point.propagation or "rprivate",
        *((f"{SUBPATH}{point.subpath}",) if point.subpath else ()),
    )


def _tmpfs_options(point: MountPoint, asked: MountSpec | None) -> tuple[str, ...]:
    options = ["nosuid", "nodev", *([] if asked and "exec" in asked.tmpfs_options else ["noexec"])]
    if asked is not None:
        options += [word for word in asked.tmpfs_options if word not in options]
        options += [f"size={asked.tmpfs_size}"] if asked.tmpfs_size else []
        options += [f"mode={asked.tmpfs_mode:o}"] if asked.tmpfs_mode else []
    return (*options, *(() if point.writable else ("ro",)))
