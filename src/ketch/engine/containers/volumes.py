"""Copy-up: a new, empty volume takes over what the image holds at its place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ketch.engine.containers.record import ContainerRecord, MountPoint
from ketch.engine.storing import storing
from ketch.errors import KetchError, NotFound, errno_text

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts


async def fill_volumes(
    parts: Parts, record: ContainerRecord, points: tuple[MountPoint, ...]
) -> None:
    """Copy into every volume that is empty, unless the request said ``nocopy``."""
    uncopied = {
        os.path.normpath(mount.target)
        for mount in record.spec.mounts
        if mount.no_copy or mount.subpath
    }
    for point in points:
        if point.type != "volume" or point.target in uncopied:
            continue
        try:
            empty = _is_empty(point.source)
        except OSError as error:
            raise KetchError(
                f"failed to populate volume: error while mounting volume {point.name}: "
                f"{point.source}: {errno_text(error)}"
            ) from None
        if empty:
            await _copy_up(parts, record, point)


async def _copy_up(parts: Parts, record: ContainerRecord, point: MountPoint) -> None:
    volume = os.open(point.source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        view = parts.snapshots.view(record.layers)
        with storing(f"what the image holds at {point.target} in volume {point.name}"):
            await parts.launcher.work(
                "ketch.layers.archive:copy_up", {"path": point.target}, [volume], view
            )
    except NotFound:
        pass  # the image has nothing there
    finally:
        os.close(volume)


def _is_empty(path: str) -> bool:
    with os.scandir(path) as entries:
        return next(entries, None) is None
