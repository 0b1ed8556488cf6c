"""Mounting a ``Rootfs``: shared read-only layers under an overlay, as a detached mount.

Layers are mounted once, in a tmpfs that exists only in the launcher's mount namespace, and stay
mounted for the next container.
"""

import os

from ketch.errors import InvalidParameter, StartFailed, errno_text
from ketch.linux import loop
from ketch.linux import mountapi as m
from ketch.mounts import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ketch.mounts import Rootfs

_ENOTBLK = 15
# What these features write into the upper directory is readable on this machine alone.
_FEATURES = (("redirect_dir", "off"), ("metacopy", "off"), ("index", "off"))
_LONGEST = 255  # bytes of one fsconfig(2) string


class LayerMounts:
    """Erofs images mounted by source, below ``directory`` (which is covered by a tmpfs).

    To be used in a mount namespace of one's own; ``close`` unmounts everything.
    """

    def __init__(self, directory: str) -> None:
        os.makedirs(directory, 0o700, exist_ok=True)
        self.directory = directory
        self._mounted: dict[str, str] = {}
        self._next = 0
        base = m.new_filesystem("tmpfs", [("mode", "700"), ("size", "1m")])
        m.mount_setattr(base, propagation=m.MS_PRIVATE)
        m.move_mount(base, m.AT_FDCWD, directory)
        os.close(base)
        self.empty = f"{directory}/empty"
        os.mkdir(self.empty, 0o755)

    def path(self, lower: Mount) -> str:
        """The directory of a layer, mounted on first use; raises OSError, ``InvalidParameter``."""
        if lower.type == "bind":
            return lower.source
        if lower.type != "erofs":
            raise InvalidParameter(f"a layer of type {lower.type!r} cannot be mounted")
        known = self._mounted.get(lower.source)
        if known is not None:
            return known
        fd = mount_erofs(lower.source)
        target = f"{self.directory}/{self._next}"
        os.mkdir(target, 0o700)
        m.move_mount(fd, m.AT_FDCWD, target)
        os.close(fd)
        self._next += 1
        self._mounted[lower.source] = target
        return target

    def sources(self) -> "list[str]":
        """What is mounted."""
        return list(self._mounted)

    def release(self, sources: "Iterable[str]") -> None:
        """Unmount; overlays that use a layer keep it alive by themselves."""
        for source in sources:
            target = self._mounted.pop(source, None)
            if target is not None:
                m.umount(target, m.MNT_DETACH)
                os.rmdir(target)

    def close(self) -> None:
        """Unmount all layers and the tmpfs."""
        self.release(self.sources())
        m.umount(self.directory, m.MNT_DETACH)


def mount_erofs(image: str) -> int:
    """A detached mount of an EROFS image: the file itself (Linux 6.12), or by loop device."""
    attributes = m.ATTR_RDONLY
    try:
        return m.new_filesystem("erofs", [("ro", None), ("source", _short(image))], attributes)
    except OSError as error:
        if error.errno != _ENOTBLK:
            raise
    device, keep = loop.attach_read_only(image)
    try:
        return m.new_filesystem("erofs", [("ro", None), ("source", device)], attributes)
    finally:
        os.close(keep)


def _short(path: str) -> str:
    """A path that fits into one fsconfig string, if need be through an fd kept open for good."""
    if len(os.fsencode(path)) <= _LONGEST:
        return path
    return f"/proc/self/fd/{os.open(path, os.O_PATH | os.O_CLOEXEC)}"


def mount_rootfs(rootfs: "Rootfs", cache: LayerMounts) -> int:
    """The root of a container as a detached mount fd; raises ``StartFailed`` with the reason.

    Without an upper directory it is read-only. A single layer gets an empty one below it then,
    since overlayfs wants two, and only overlayfs reads whiteouts.
    """
    try:
        if not rootfs.lowers:
            raise InvalidParameter("a root needs at least one layer")
        lowers = [cache.path(lower) for lower in rootfs.lowers]
        if rootfs.upper:
            return mount_overlay(lowers, rootfs.upper, rootfs.work, volatile=rootfs.volatile)
        if len(lowers) == 1:
            lowers.append(cache.empty)
        return mount_overlay(lowers, "", "")
    except OSError as error:
        where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
        raise StartFailed(f"cannot mount the root: {errno_text(error)}{where}", 128) from None


def mount_overlay(lowers: "list[str]", upper: str, work: str, *, volatile: bool = False) -> int:
    """A detached overlay; ``lowers`` topmost first; read-only without ``upper``.

    Layers are given one by one (``lowerdir+``, Linux 6.5), or all in one string before.
    """
    unsynced: list[tuple[str, str | None]] = [("volatile", None)] if volatile else []
    try:
        return _overlay([*(("lowerdir+", lower) for lower in lowers), *unsynced], upper, work)
    except OSError as error:
        if error.errno != 22:
            raise
    joined = ":".join(_escape(lower) for lower in lowers)
    if len(os.fsencode(joined)) <= _LONGEST:
        return _overlay([("lowerdir", joined), *unsynced], upper, work)
    return _overlay_by_mount(lowers, upper, work, ",volatile" if volatile else "")


def make_mountable_again(rootfs: "Rootfs") -> None:
    """Of a volatile root that nobody has written to the kernel's mark may go, which it leaves so
    that none is mounted twice (Documentation/filesystems/overlayfs.rst)."""
    if not rootfs.volatile:
        return
    mark = f"{rootfs.work}/work/incompat"
    try:
        os.unlink(f"{mark}/volatile/dirty")
        os.rmdir(f"{mark}/volatile")
        os.rmdir(mark)
    except OSError:
        pass  # there is none, or something else is wrong: the mount will tell


def _overlay(given: "list[tuple[str, str | None]]", upper: str, work: str) -> int:
    options: list[tuple[str, str | None]] = [("source", "overlay"), *_FEATURES]
    options += [(key, _short(value) if value else value) for key, value in given]
    if upper:
        options += [("upperdir", _short(upper)), ("workdir", _short(work))]
    return m.new_filesystem("overlay", options, 0 if upper else m.ATTR_RDONLY)


def _escape(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _overlay_by_mount(lowers: "list[str]", upper: str, work: str, more: str) -> int:
    """mount(2) takes a page of options: names as short as can be, those of open descriptors.

    So the kernel's own limit of 500 layers is the one that counts. The mount is detached from where
    it had to be made.
    """
    here = os.open(".", os.O_PATH | os.O_CLOEXEC)
    opened: list[int] = []
    try:
        opened.extend(os.open(lower, os.O_PATH | os.O_CLOEXEC) for lower in lowers)
        data = (
            f"redirect_dir=off,metacopy=off,index=off{more},lowerdir={':'.join(map(str, opened))}"
        )
        if upper:
            data += f",upperdir={_escape(upper)},workdir={_escape(work)}"
        if len(os.fsencode(data)) >= 4096:
            raise OSError(7, "too many layers for this kernel")
        os.chdir("/proc/self/fd")
        return _mount_and_detach(data)
    finally:
        os.fchdir(here)
        for fd in (here, *opened):
            os.close(fd)


def _mount_and_detach(data: str) -> int:
    target = "/tmp"
    m.mount("overlay", target, "overlay", 0, data)
    try:
        return m.open_tree(target)
    finally:
        m.umount(target, m.MNT_DETACH)
