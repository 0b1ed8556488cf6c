"""Paths of a directory as members of a tar stream, quickly.

POSIX ustar where that can say it, which is nearly always: two bytes strings are joined instead of a
library's dozens of calls. Longer names and links, large numbers and what is not UTF-8 go through
``tarfile``. Owners are root and times whole seconds, as docker sends contexts.
"""

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 18
END = bytes(1024)
_TYPES = {stat.S_IFREG: b"0", stat.S_IFLNK: b"2", stat.S_IFDIR: b"5", stat.S_IFIFO: b"6"}
_LARGEST = 0o77777777777  # of ustar's size and time
_MAGIC = (
    b"ustar\x0000root" + bytes(28) + b"root" + bytes(28) + b"0000000\x000000000\x00" + bytes(167)
)

_BLANKS = 8 * 32  # a header's sum counts its own field so
_BACKS = {  # what is behind the sum, of what is no link; and what it adds to the sum
    kind: (sign + bytes(100) + _MAGIC, sum(sign) + sum(_MAGIC) + _BLANKS)
    for kind, sign in _TYPES.items()
}


def of_path(
    folder: str, name: str, prefix: str = "", info: "os.stat_result | None" = None
) -> "Iterator[bytes]":
    """The member ``name`` below ``folder``: head, content, padding; nothing for a socket.

    ``info`` is what lstat(2) says of it, if somebody has asked already. In the archive ``prefix``
    stands before its name. A file that shrinks meanwhile is filled up with zeros, one that grows
    is cut.
    """
    path = os.path.join(folder, name)
    info = info or os.lstat(path)
    kind = stat.S_IFMT(info.st_mode)
    if kind == stat.S_IFSOCK:  # it has no form in tar
        return
    link = os.readlink(path) if kind == stat.S_IFLNK else ""
    size = info.st_size if kind == stat.S_IFREG else 0
    yield _head(prefix + name, link, info, size)
    if size:
        yield from _content(path, size)


def of_directory(name: str) -> "list[bytes]":
    """A directory of mode 0755."""
    info = os.stat_result((stat.S_IFDIR | 0o755, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    return [_head(name.rstrip("/"), "", info, 0)]


def of_bytes(name: str, content: bytes, mode: int = 0o644) -> "list[bytes]":
    """A regular file of these bytes."""
    info = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, 0, 0, len(content), 0, 0, 0))
    return [_head(name, "", info, len(content)), content, bytes(-len(content) % 512)]


def _content(path: str, size: int) -> "Iterator[bytes]":
    left = size
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while left and (data := os.read(fd, min(left, CHUNK))):
            left -= len(data)
            yield data
    finally:
        os.close(fd)
    while left:
        yield bytes(min(left, CHUNK))
        left -= min(left, CHUNK)
    yield bytes(-size % 512)


def _head(name: str, link: str, info: os.stat_result, size: int) -> bytes:
    kind = stat.S_IFMT(info.st_mode)
    shown = name + "/" if kind == stat.S_IFDIR else name
    plain, target = os.fsencode(shown), os.fsencode(link)
    fits = len(plain) <= 100 and len(target) <= 100 and size <= _LARGEST
    if not fits or kind not in _TYPES or not 0 <= info.st_mtime <= _LARGEST or not _is_text(plain):
        return _by_library(shown, link, info, size)
    mode = b"%07o\x00" % stat.S_IMODE(info.st_mode)
    numbers = b"0000000\x000000000\x00%011o\x00%011o\x00" % (size, int(info.st_mtime))
    front = plain.ljust(100, b"\0") + mode + numbers
    if target:
        back = _TYPES[kind] + target.ljust(100, b"\0") + _MAGIC
        total = sum(front) + sum(back) + _BLANKS
    else:
        back, known = _BACKS[kind]
        total = sum(front) + known
    return front + b"%06o\x00 " % total + back


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _by_library(name: str, link: str, info: os.stat_result, size: int) -> bytes:
    import tarfile

    kinds = {
        stat.S_IFREG: tarfile.REGTYPE,
        stat.S_IFLNK: tarfile.SYMTYPE,
        stat.S_IFDIR: tarfile.DIRTYPE,
        stat.S_IFIFO: tarfile.FIFOTYPE,
        stat.S_IFCHR: tarfile.CHRTYPE,
        stat.S_IFBLK: tarfile.BLKTYPE,
    }
    entry = tarfile.TarInfo(name)
    entry.type = kinds[stat.S_IFMT(info.st_mode)]
    entry.mode, entry.mtime, entry.size = stat.S_IMODE(info.st_mode), int(info.st_mtime), size
    entry.linkname = link
    if entry.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        entry.devmajor, entry.devminor = os.major(info.st_rdev), os.minor(info.st_rdev)
    return entry.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")
