"""Where COPY and ADD put what they take: Docker's rules for destinations.

Source: Dockerfile reference, "COPY" and "ADD". A destination that ends in ``/``, is a directory
already, or gets several sources is a directory; else it names the file itself, or the one that a
link of that name leads to. A source directory gives its contents, and the last source its time. As
with BuildKit a directory goes into a directory only, and takes the place of no link to one: that
would make of a /bin that leads to /usr/bin one without a shell.
"""

from __future__ import annotations

import os
import posixpath
import stat
from typing import BinaryIO, cast

from ketch.errors import InvalidParameter
from ketch.layers.compression import decompressed, detect
from ketch.layers.create import set_mtime
from ketch.layers.entry import Entry
from ketch.layers.layerwrite import LayerWriter, NotPlain
from ketch.layers.sources import is_link
from ketch.layers.streams import FileWindow
from ketch.layers.tarread import BLOCK, TarReader, looks_like_tar
from ketch.layers.unpack import Fill, Ownership, Unpacker, make_directories
from ketch.linux.paths import open_in_root

_MOST_LINKS = 40


class Placing:
    """Puts a stream of ``layers.sources`` at ``destination`` inside the tree ``root_fd``.

    ``archive_chown`` is the owner of what comes out of unpacked archives (None: as they say);
    ``several`` says that more than this stream is put there.
    """

    def __init__(
        self,
        root_fd: int,
        destination: str,
        ownership: Ownership,
        *,
        extract: bool = False,
        archive_chown: tuple[int, int] | None = None,
        several: bool = False,
    ) -> None:
        self._root_fd = root_fd
        self._destination = destination
        self._ownership = ownership
        self._extract = extract
        self._archive_chown = archive_chown
        self._several = several
        self._unpacker: Unpacker | None = None
        self._rename: bytes | None = None
        self._archives = 0
        self._made = False  # the destination, by this
        self._time: int | None = None
        self._alone = False

    @property
    def entries(self) -> int:
        """How many entries were put in place."""
        return self._archives + (self._unpacker.entries if self._unpacker else 0)

    def put(self, entry: Entry, fill: Fill | None, fd: int = -1) -> None:
        """Place one entry of the stream; ``fd`` is its content if it can be looked into."""
        head, _, below = entry.name.partition(b"/")
        is_file_source = head.startswith(b"f")
        if is_file_source:
            self._time = None
        if self._extract and is_file_source and entry.is_file and is_archive(fd, entry.size):
            self._unpack_archive(fd, entry.size)
            return
        unpacker = self._target(is_file_source, int(head[1:]) + self._several)
        if entry.is_dir and not below:
            self._time, self._alone = entry.mtime, is_alone(entry)
        entry.name = self._rename if is_file_source and self._rename is not None else below
        if entry.hardlink:
            entry.link = entry.link.partition(b"/")[2]
        unpacker.put(entry, fill)

    def finish(self) -> None:
        """Set the directories' times."""
        if self._unpacker is not None:
            self._unpacker.finish()
        if self._time is None:
            return
        fd = open_in_root(self._root_fd, self._destination, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if self._made and self._alone and self._ownership.chmod is not None:
                os.fchmod(fd, self._ownership.chmod(stat.S_IFDIR | 0o755))
            set_mtime(fd, self._time)
        finally:
            os.close(fd)

    def _target(self, is_file: bool, count: int) -> Unpacker:
        if self._unpacker is None:
            base = self._destination
            if is_file and count == 1 and not self._is_directory():
                base, name = posixpath.split(followed(self._root_fd, base))
                self._rename = os.fsencode(name)
            elif count > 1 and not self._destination.endswith("/") and not self._is_directory():
                raise InvalidParameter(
                    f"several sources, but {self._destination!r} is not a directory: "
                    "end the destination with /"
                )
            self._made = not self._is_directory("")
            base = self._make(base, self._ownership)
            self._unpacker = Unpacker(
                self._root_fd, os.fsencode(base), ownership=self._ownership, strict=True
            )
        return self._unpacker

    def _is_directory(self, marks: str = "/") -> bool:
        if marks and self._destination.endswith(("/", "/.")):
            return True
        return is_directory(self._root_fd, self._destination)

    def _make(self, path: str, ownership: Ownership) -> str:
        """A directory; where it is once links are followed."""
        path = followed(self._root_fd, path)
        os.close(make_directories(self._root_fd, os.fsencode(path), ownership))
        return path

    def _unpack_archive(self, fd: int, size: int) -> None:
        base = self._make(self._destination, Ownership(self._ownership.chown))
        stream = decompressed(cast(BinaryIO, FileWindow(os.dup(fd), 0, size)))
        # directories that the archive does not name are root's, whoever has the others (BuildKit)
        ownership = Ownership(self._archive_chown, made_for=(0, 0))
        unpacker = Unpacker(self._root_fd, os.fsencode(base), ownership=ownership)
        self._archives += unpack_stream(stream, unpacker)


class LayerPlacing:
    """The same, written as a layer for the tree at ``root_fd``; unpacks no archives.

    ``time`` is that of the last source, if it is a directory.
    """

    def __init__(
        self, layer: LayerWriter, root_fd: int, destination: str, time: int | None = None
    ) -> None:
        self._layer = layer
        self._root_fd = root_fd
        self._time = time
        self._destination = destination
        self._base: tuple[bytes, ...] | None = None
        self._rename: bytes | None = None

    def put(self, entry: Entry, content: int) -> None:
        """Place one entry of the stream, see ``LayerWriter.put``; raises ``NotPlain``."""
        head, _, below = entry.name.partition(b"/")
        is_file_source = head.startswith(b"f")
        if self._base is None:
            self._begin(is_file_source, int(head[1:]), is_alone(entry))
        assert self._base is not None
        entry.name = self._rename if is_file_source and self._rename is not None else below
        if entry.hardlink:
            entry.link = entry.link.partition(b"/")[2]
        self._layer.put(self._base, entry, content)

    def _begin(self, is_file: bool, count: int, alone: bool) -> None:
        base = self._destination
        if not self._is_directory():
            if count > 1:
                raise NotPlain  # refused, unless a link leads to a directory
            if is_file:
                if is_link(self._root_fd, base):
                    raise NotPlain
                base, name = posixpath.split(posixpath.normpath(base))
                self._rename = os.fsencode(name)
        self._base = self._layer.make_directories(os.fsencode(base), self._time, alone=alone)

    def _is_directory(self) -> bool:
        ends = self._destination.endswith(("/", "/."))
        return ends or is_directory(self._root_fd, self._destination)


def followed(root_fd: int, path: str) -> str:
    """An absolute path with links followed inside the root, though they may lead to nothing: what
    is missing is to be made there. Raises ``InvalidParameter`` for too many links."""
    walked, rest, links = "/", path.split("/")[::-1], 0
    while rest:
        name = rest.pop()
        here = posixpath.normpath(posixpath.join(walked, name))
        target = _link_at(root_fd, here)
        if target is None:
            walked = here
            continue
        links += 1
        if links > _MOST_LINKS:
            raise InvalidParameter(f"{path}: too many symbolic links")
        walked = "/" if target.startswith("/") else walked
        rest += target.split("/")[::-1]
    return walked


def _link_at(root_fd: int, path: str) -> str | None:
    """What a link says; None if there is something else or nothing."""
    try:
        fd = open_in_root(root_fd, path, os.O_PATH | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return os.readlink("", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else None
    finally:
        os.close(fd)


def is_directory(root_fd: int, path: str) -> bool:
    """Whether a path inside the root leads to a directory."""
    try:
        os.close(open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY))
    except OSError:
        return False
    return True


def is_alone(entry: Entry) -> bool:
    """Whether an entry of the stream is the only source, a directory."""
    return entry.name == b"d1" and entry.is_dir


def unpack_stream(stream: BinaryIO, unpacker: Unpacker) -> int:
    """Put all entries of an uncompressed tar in place; returns how many."""
    reader = TarReader(stream)
    try:
        for entry in reader:
            unpacker.put(entry, content_of(reader))
        unpacker.finish()
    finally:
        unpacker.close()
    return unpacker.entries


def content_of(reader: TarReader) -> Fill:
    """A function that writes the current entry's content to an fd."""

    def fill(fd: int) -> None:
        while data := reader.read(1 << 20):
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]

    return fill


def is_archive(fd: int, size: int) -> bool:
    """Whether ADD unpacks this file: a tar, plain or compressed in a way we know."""
    if fd < 0:
        return False
    head = os.pread(fd, BLOCK, 0)
    if detect(head) != "none":
        head = _first_block(fd, size)
    return looks_like_tar(head)


def _first_block(fd: int, size: int) -> bytes:
    window = FileWindow(os.dup(fd), 0, size)
    try:
        stream = decompressed(cast(BinaryIO, window), ahead=False)
        head = b""
        while len(head) < BLOCK and (more := stream.read(BLOCK - len(head))):
            head += more
        return head
    except Exception:  # not what its first bytes say: an ordinary file
        return b""
    finally:
        window.close()
