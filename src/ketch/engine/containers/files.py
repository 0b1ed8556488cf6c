"""A container's files: changes, export, and the archive calls behind ``cp``.

All work on trees is done by workers of the launcher, pivoted into the tree; here are only pipes.
What reads the image and the writable layer gets them as a read-only stack, so that the overlay of
a running container is never mounted a second time. Where the processes of a running container
have mounts of their own (volumes, tmpfs), the worker joins their mount namespace instead.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec

from ketch.engine.builder.steps import floor as builder_floor
from ketch.engine.containers import cgroup as container_cgroup
from ketch.engine.containers.record import ContainerRecord, MountPoint
from ketch.engine.pipes import drained, fed
from ketch.engine.storing import storing
from ketch.errors import InvalidParameter, KetchError, NotFound, Unavailable, os_reason
from ketch.mounts import Mount, Rootfs

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts

_ARCHIVE = "ketch.layers.archive"
_INSIDE = "ketch.engine.containers.enter:run"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One path that differs from the image: kind 0 modified, 1 added, 2 deleted."""

    path: str
    kind: int


class PathStat(msgspec.Struct, frozen=True, kw_only=True):
    """What the archive routes say of a path; ``mode`` is st_mode of stat(2)."""

    name: str
    size: int
    mode: int
    mtime: int
    link_target: str = ""


class ArchivePut(msgspec.Struct, frozen=True, kw_only=True):
    """Options of ``archive_put``; ``no_overwrite_dir_non_dir`` keeps a directory from replacing a
    file and the reverse."""

    no_overwrite_dir_non_dir: bool = False


class Files:
    """See the module's docstring."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def changes(self, ref: str) -> list[Change]:
        """Paths that differ from the image, sorted."""
        record = self._parts.store.resolve(ref)
        upper = os.open(self._parts.snapshots.upper(record.id), os.O_PATH | os.O_DIRECTORY)
        try:
            view = await self._image(record)
            found = await self._work("changes", {}, [upper], view)
        finally:
            os.close(upper)
        return [Change(path=path, kind=kind) for path, kind in found["changes"]]

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        """The filesystem without mounts, as a tar stream."""
        record = self._parts.store.resolve(ref)
        view = await self._readable(record)
        stream = await drained(lambda out: self._work("export", {}, [out], view))
        self._parts.publish(record, "export")
        return stream

    async def stat(self, ref: str, path: str) -> PathStat:
        """What is at ``path``; raises ``NotFound`` in Docker's words."""
        record = self._parts.store.resolve(ref)
        return await self._stat(record, ref, _checked(path))

    async def _stat(self, record: ContainerRecord, ref: str, path: str) -> PathStat:
        try:
            found = await self._in_tree(record, "stat", {"path": path}, [])
        except NotFound:
            raise NotFound(f"Could not find the file {path} in container {ref}") from None
        return PathStat(**found)

    async def get(self, ref: str, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        """``path`` as a tar stream."""
        record = self._parts.store.resolve(ref)
        stat = await self._stat(record, ref, _checked(path))
        stream = await drained(lambda out: self._in_tree(record, "get", {"path": path}, [out]))
        self._parts.publish(record, "archive-path", path=path)
        return stat, stream

    async def put(
        self, ref: str, path: str, data: AsyncIterator[bytes], options: ArchivePut
    ) -> None:
        """Unpack into the directory ``path``; owners are the archive's, as with dockerd, whatever
        its manual says of root."""
        record = self._parts.store.resolve(ref)
        self._check_writable(record, _checked(path))
        args = {
            "path": path,
            "no_overwrite_dir_non_dir": options.no_overwrite_dir_non_dir,
            "chown": None,
        }
        try:
            with storing(f"files in {path} of container {ref}"):
                await fed(data, lambda fd: self._in_tree(record, "put", args, [fd], writes=True))
        except NotFound:
            raise NotFound(f"Could not find the file {path} in container {ref}") from None
        self._parts.publish(record, "extract-to-dir", path=path)

    def _check_writable(self, record: ContainerRecord, path: str) -> None:
        point = _mount_below(record, path)
        if point is None and record.spec.read_only_rootfs:
            raise InvalidParameter("container rootfs is marked read-only")
        if point is not None and not point.writable:
            raise InvalidParameter("mounted volume is marked read-only")

    async def _in_tree(
        self,
        record: ContainerRecord,
        function: str,
        args: dict[str, Any],
        fds: list[int],
        *,
        writes: bool = False,
    ) -> dict[str, Any]:
        """Run an archive function where ``path`` means what the container's processes see."""
        try:
            return await self._where_it_is(record, function, args, fds, writes)
        except KetchError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in _FAULTS_OF_PATHS:
                reason = os.strerror(cause.errno)
                raise InvalidParameter(f"bad parameter: path {args['path']}: {reason}") from None
            raise

    async def _where_it_is(
        self,
        record: ContainerRecord,
        function: str,
        args: dict[str, Any],
        fds: list[int],
        writes: bool,
    ) -> dict[str, Any]:
        if record.state.running:
            try:
                return await self._inside(record, function, args, fds)
            except Unavailable:
                pass  # it has ended since
        point = _mount_below(record, str(args["path"]))
        if point is not None and point.type != "tmpfs":
            inside = os.path.relpath(str(args["path"]), point.target)
            args = {**args, "path": os.path.join(point.subpath, inside)}
            if point.type == "image":
                return await self._work(
                    function, args, fds, self._parts.snapshots.view(point.layers)
                )
            async with self._parts.volumes.mounts.held(f"files {secrets.token_hex(8)}", (point,)):
                return await self._at(point.source, function, args, fds)
        if writes:
            rootfs = self._parts.snapshots.rootfs(record.id)
        else:
            rootfs = await self._readable(record)
        return await self._work(function, args, fds, rootfs)

    async def _inside(
        self, record: ContainerRecord, function: str, args: dict[str, Any], fds: list[int]
    ) -> dict[str, Any]:
        group = container_cgroup.of(record.state).name
        return await self._enter({"pid": record.state.pid, "cgroup": group}, function, args, fds)

    async def _at(
        self, source: str, function: str, args: dict[str, Any], fds: list[int]
    ) -> dict[str, Any]:
        try:  # here, since what is mounted on the host is not seen where workers live
            root = os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise KetchError(f"{source}: {os_reason(error)}") from error
        try:
            return await self._enter({}, function, args, [*fds, root])
        finally:
            os.close(root)

    async def _enter(
        self, where: dict[str, Any], function: str, args: dict[str, Any], fds: list[int]
    ) -> dict[str, Any]:
        wrapped = {**where, "task": f"{_ARCHIVE}:{function}", "args": args}
        return await self._parts.launcher.work(_INSIDE, wrapped, fds, None)

    async def _work(
        self, function: str, args: dict[str, Any], fds: list[int], rootfs: Rootfs
    ) -> dict[str, Any]:
        return await self._parts.launcher.work(f"{_ARCHIVE}:{function}", args, fds, rootfs)

    async def _readable(self, record: ContainerRecord) -> Rootfs:
        """Writable layer and image as one read-only stack."""
        image = await self._image(record)
        upper = Mount("bind", self._parts.snapshots.upper(record.id))
        return Rootfs((upper, *image.lowers))

    async def _image(self, record: ContainerRecord) -> Rootfs:
        """The image over the mount points that every container has."""
        floor = await builder_floor.ensure(self._parts)
        return self._parts.snapshots.view((floor, *record.layers))


_FAULTS_OF_PATHS = (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)
"""What is wrong with the path that was asked for, not with the machine."""


def _checked(path: str) -> str:
    if not path:
        raise InvalidParameter("bad parameter: path cannot be empty")
    return path


def _mount_below(record: ContainerRecord, path: str) -> MountPoint | None:
    """The mount that ``path`` is in, textually; the deepest one."""
    whole = os.path.normpath("/" + path.lstrip("/"))  # normpath keeps two leading slashes
    holding = [
        point
        for point in record.mount_points
        if whole == point.target.rstrip("/") or whole.startswith(point.target.rstrip("/") + "/")
    ]
    return max(holding, key=lambda point: len(point.target), default=None)
