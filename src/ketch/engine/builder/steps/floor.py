"""The floor: a layer below all others of a container or a step of a build, with mount points.

The runtime mounts over ``/proc``, ``/etc/hosts`` and others and makes what is missing; without the
floor those files would be found in the step's layer. A container's floor also has ``/.dockerenv``,
by which programs find out that they run in a container, and, as with dockerd, ``/etc/mtab``, which
old programs read instead of ``/proc/mounts``. A step's has not, as in BuildKit: there they would
stand in the way of what the Dockerfile makes. The layer is never part of an image.

Where a step looks into a tree of no layers, that of a stage which is ``FROM scratch`` so far, there
is an empty layer instead: mount points are none of its files.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts

_DIRECTORIES = ("dev", "dev/pts", "dev/shm", "etc", "proc", "sys")
_LINKS = {"etc/mtab": "/proc/mounts"}
_MOUNTED = ("etc/hosts", "etc/resolv.conf")
_FILES = (".dockerenv", "etc/hostname", *_MOUNTED)


@lru_cache(maxsize=2)
def archive(*, step: bool = False) -> tuple[str, bytes]:
    """Diff ID and tar stream, always the same; a container's, or that of a build's ``step``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in _DIRECTORIES:
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for name in _MOUNTED if step else _FILES:
            info = tarfile.TarInfo(name)
            info.mode = 0o644
            tar.addfile(info)
        for name, target in ({} if step else _LINKS).items():
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, target
            tar.addfile(info)
    data = out.getvalue()
    return "sha256:" + hashlib.sha256(data).hexdigest(), data


@lru_cache(maxsize=1)
def empty() -> tuple[str, bytes]:
    """Diff ID and tar stream of the empty layer."""
    out = io.BytesIO()
    tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT).close()
    data = out.getvalue()
    return "sha256:" + hashlib.sha256(data).hexdigest(), data


def own_layers() -> frozenset[str]:
    """Diff IDs of the layers that are the engine's own: no image has to name them."""
    return frozenset((archive()[0], archive(step=True)[0], empty()[0]))


async def ensure(parts: Parts, *, step: bool = False) -> str:
    """The floor's diff ID, stored if it was not."""
    return await _stored(parts, *archive(step=step))


async def ensure_empty(parts: Parts) -> str:
    """The empty layer's diff ID, stored if it was not."""
    return await _stored(parts, *empty())


async def _stored(parts: Parts, diff_id: str, data: bytes) -> str:
    if parts.snapshots.has_layer(diff_id):
        return diff_id
    fd = os.memfd_create("floor", os.MFD_CLOEXEC)
    try:
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
        args = {
            "root": parts.config.data_root,
            "snapshotter": parts.snapshots.name,
            "diff_id": diff_id,
            "limit": 0,
        }
        await parts.launcher.work("ketch.snapshots.tasks:ingest", args, [fd])
    finally:
        os.close(fd)
    return diff_id
