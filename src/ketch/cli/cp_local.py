"""The local side of ``ketch cp``: trees to tar streams, and tar streams to trees.

What comes out of a container is not trusted: nothing is written outside of the destination, no
link is followed, and what is in the way is replaced, never written through.
"""

import io
import os
import stat
import tarfile

from ketch.cli.flags import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


CHUNK = 1 << 18


class Plan:
    """Where entries go: the folder, and what the first part of their names becomes.

    ``root`` is the new first part, empty for the content of a directory.
    """

    __slots__ = ("folder", "root")

    def __init__(self, folder: str, root: str) -> None:
        self.folder = folder
        self.root = root

    def place(self, name: str) -> str:
        """An entry's path below the folder."""
        _, _, rest = name.strip("/").partition("/")
        return "/".join(part for part in (self.root, rest) if part) or "."


class Whole(Plan):
    """Entries keep their names."""

    __slots__ = ()

    def place(self, name: str) -> str:
        """The path as it is."""
        return name.strip("/") or "."


class Buffer(io.RawIOBase):
    """A file object that keeps what is written until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes") -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        self.size += len(data)
        return len(data)

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self.size = 0
        return data


def means_content(path: str) -> bool:
    """Whether a path stands for what is in a directory: ``x/.`` or ``.``."""
    return path.endswith("/.") or path == "."


def check_parent(target: str) -> None:
    """The folder of a destination must be there; raises ``Failure``."""
    folder = os.path.dirname(os.path.abspath(target.rstrip("/") or "/"))
    if not os.path.isdir(folder):
        raise Failure(f'invalid output path: directory "{folder}" does not exist')


def plan(source: str, is_folder: bool, target: str, renamed: str = "") -> Plan:
    """Docker's table of source and destination; raises ``Failure``.

    ``renamed`` is the name under which a link was asked for.
    """
    name = renamed or os.path.basename(source.rstrip("/"))
    if os.path.isdir(target):
        return Plan(target, "" if means_content(source) and is_folder else name)
    if os.path.lexists(target) and is_folder:
        raise Failure("cannot copy directory")
    if not os.path.lexists(target) and target.endswith(("/", "/.")) and not is_folder:
        raise Failure("no such directory")
    whole = os.path.abspath(os.path.realpath(target) if os.path.islink(target) else target)
    return Plan(os.path.dirname(whole), os.path.basename(whole))


def extract(
    pieces: "Iterable[bytes]", plan: Plan, *, keep_owner: bool, plain: bool = False
) -> None:
    """Write a tree; raises ``Failure`` for an archive that reaches out of it, or is none. A
    ``plain`` one has nothing but directories and files."""
    folders: list[tuple[str, tarfile.TarInfo]] = []
    try:
        with tarfile.open(fileobj=_Reader(iter(pieces)), mode="r|") as tar:
            tar.extraction_filter = lambda entry, _: entry  # Python 3.11.2, Debian 12's, has none
            for entry in tar:
                if plain and not entry.isdir() and not entry.isreg():
                    raise Failure(f"the archive has an entry that is no file: {entry.name!r}")
                _place(tar, entry, plan, keep_owner, folders)
        for path, entry in reversed(folders):
            _inside(plan.folder, entry.name)  # a link on its way may be another one now
            _finish(path, entry)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise Failure(f"what the engine sent is no archive that can be unpacked: {error}") from None


def _place(
    tar: tarfile.TarFile,
    entry: tarfile.TarInfo,
    plan: Plan,
    keep_owner: bool,
    folders: "list[tuple[str, tarfile.TarInfo]]",
) -> None:
    """One entry; of ``folders``, mode and time are set at the end."""
    entry.name = _inside(plan.folder, plan.place(entry.name))
    if entry.name == ".":  # the destination keeps its own mode, owner and time
        return
    path = os.path.join(plan.folder, entry.name)
    if entry.islnk():
        entry.linkname = _inside(plan.folder, plan.place(entry.linkname))
        _clear(path, entry)
        _link(os.path.join(plan.folder, entry.linkname), path)
        return
    if not keep_owner:
        entry.uid, entry.gid = os.getuid(), os.getgid()
    entry.uname = entry.gname = ""
    _clear(path, entry)
    tar.extract(entry, plan.folder, set_attrs=not entry.isdir())
    if entry.isdir():
        folders.append((path, entry))


def _link(there: str, path: str) -> None:
    """A hard link. Its attributes are those of its other name: setting them again, as tarfile does,
    would follow a symbolic link that has two names."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.link(there, path, follow_symlinks=False)


def _inside(folder: str, name: str) -> str:
    """``name`` if it stays below ``folder`` with all links on its way followed."""
    root = os.path.realpath(folder)
    parent = os.path.realpath(os.path.join(root, os.path.dirname(os.path.normpath(name))))
    outside = name.startswith("/") or ".." in name.split("/")
    if outside or os.path.commonpath((root, parent)) != root:
        raise Failure(f"the archive has an entry outside of the destination: {name}")
    return name


def _clear(path: str, entry: tarfile.TarInfo) -> None:
    """Take away what is in the way; a directory stays one."""
    if os.path.isdir(path) and not os.path.islink(path):
        if not entry.isdir():
            raise Failure(f'cannot overwrite directory "{path}" with non-directory "{entry.name}"')
    elif os.path.lexists(path):
        if entry.isdir() and not os.path.islink(path):
            raise Failure(f'cannot overwrite non-directory "{path}" with directory "{entry.name}"')
        os.unlink(path)


def _finish(path: str, entry: tarfile.TarInfo) -> None:
    """Owner, mode and time of a directory, after what is in it."""
    if os.path.islink(path):
        return
    if os.geteuid() == 0:
        os.chown(path, entry.uid, entry.gid)
    os.chmod(path, entry.mode & 0o7777)
    os.utime(path, (entry.mtime, entry.mtime))


def pack(source: str, name: str) -> "Iterator[bytes]":
    """The tar stream of a file or a tree; its root is called ``name``."""
    out = Buffer()
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path, inner in _tree(source, name):
            if stat.S_ISSOCK(os.lstat(path).st_mode):  # it has no form in tar
                continue
            entry = tar.gettarinfo(path, arcname=inner)
            if not entry.isreg():
                tar.addfile(entry)
            else:
                with open(path, "rb") as file:
                    yield from _file(tar, entry, file, out)
            if out.size > CHUNK:
                yield out.take()
    yield out.take()


def _file(
    tar: tarfile.TarFile, entry: tarfile.TarInfo, file: "io.BufferedReader", out: "Buffer"
) -> "Iterator[bytes]":
    """One file, piece by piece, so that memory stays small whatever its size.

    The header has promised a size: a file that shrinks meanwhile is filled up with zeros.
    """
    tar.addfile(entry)
    left = entry.size
    while left:
        piece = file.read(min(left, CHUNK)) or b"\0" * min(left, CHUNK)
        tar.fileobj.write(piece)
        left -= len(piece)
        yield out.take()
    padding = -entry.size % tarfile.BLOCKSIZE
    tar.fileobj.write(b"\0" * padding)
    tar.offset += entry.size + padding


def _tree(path: str, name: str) -> "Iterator[tuple[str, str]]":
    """(local path, name in the archive) of a file or of everything below a directory."""
    yield path, name
    if os.path.isdir(path) and not os.path.islink(path.rstrip("/")):
        for child in sorted(os.listdir(path)):
            yield from _tree(os.path.join(path, child), f"{name}/{child}")


class _Reader(io.RawIOBase):
    """A file object over pieces of bytes."""

    def __init__(self, pieces: "Iterator[bytes]") -> None:
        super().__init__()
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts, have = [self._rest], len(self._rest)
        while size < 0 or have < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            parts.append(piece)
            have += len(piece)
        data = b"".join(parts)
        data, self._rest = (data, b"") if size < 0 else (data[:size], data[size:])
        return data
