"""A client's files through its session: the receiving side of fsutil's transfer.

The sender tells of every path (``STAT``, numbered from 0 in the order they come), then sends the
content of the files that are asked for by number (``REQ`` → ``DATA``…, an empty one at the end);
``FIN`` closes it both ways. Contents arrive interleaved. Here they become one tar stream, for the
worker that unpacks contexts: no file of the client's is opened in the daemon.
"""

from __future__ import annotations

import hashlib
import posixpath
import stat
import tarfile
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote_plus

from ketch.build.progress.meter import Meter
from ketch.buildkit.messages.go_modes import GO_TYPE_MASK, unix_mode
from ketch.buildkit.messages.session import (
    PACKET_DATA,
    PACKET_ERR,
    PACKET_FIN,
    PACKET_REQ,
    PACKET_STAT,
    Packet,
    Stat,
)
from ketch.engine.builder.contexts.earlier import is_certain
from ketch.errors import InvalidParameter, NotFound, Unavailable

if TYPE_CHECKING:
    from grpclib.client import Stream

    from ketch.buildkit.session.sessions import Session
    from ketch.engine.builder.contexts.earlier import Earlier

METHOD = "/moby.filesync.v1.FileSync/DiffCopy"
_MOST_PATHS = 2_000_000
_MOST_TOLD = 256 << 20  # bytes of names, links and attributes
_MOST_MISSING = 64 << 20  # bytes of a file that shrank
_AHEAD_FILES, _AHEAD_BYTES = 64, 8 << 20
_LARGEST_TEXT = 4 << 20  # bytes of a Dockerfile or .dockerignore
_MOST_LINKS = 10
_HEAD = 20  # bytes of what is told of a path besides its name, about
_GO_LINK = 1 << 27  # os.ModeSymlink of Go


async def read_texts(
    session: Session, directory: str, names: Sequence[str], meter: Meter | None = None
) -> dict[str, bytes]:
    """The small files of these names that a directory of the client's has.

    A name that is a symbolic link means the file it leads to, inside that directory.
    """
    found: dict[str, bytes] = {}
    asked = {name: name for name in names}  # path → name that it is wanted for
    for _ in range(_MOST_LINKS):
        texts, links = await _read_once(session, directory, list(asked), meter)
        found |= {asked[path]: text for path, text in texts.items()}
        asked = {_target(path, link): asked[path] for path, link in links.items()}
        if not asked:
            break
    return found


async def _read_once(
    session: Session, directory: str, paths: Sequence[str], meter: Meter | None
) -> tuple[dict[str, bytes], dict[str, str]]:
    """The files among some paths, and where the links among them lead."""
    texts: dict[str, bytes] = {}
    links: dict[str, str] = {}
    transfer = _Transfer(session, directory, meter, _Patterns(paths), only=paths)
    async for entry, chunks in transfer.entries():
        if entry.mode & GO_TYPE_MASK == _GO_LINK and entry.path in paths:
            links[entry.path] = entry.linkname
        if not transfer.wants(entry):
            continue
        if entry.size > _LARGEST_TEXT:
            raise InvalidParameter(f"{entry.path} is larger than 4 MiB")
        texts[entry.path] = b"".join([chunk async for chunk in chunks])
    return texts, links


def _target(path: str, link: str) -> str:
    """As a process would find it whose root is the directory."""
    return posixpath.normpath("/" + posixpath.join(posixpath.dirname(path), link)).lstrip("/")


async def tar_stream(
    session: Session,
    directory: str,
    exclude: Sequence[str] = (),
    meter: Meter | None = None,
    earlier: Earlier | None = None,
    follow: Sequence[str] = (),
    include: Sequence[str] = (),
) -> AsyncIterator[bytes]:
    """A directory of the client's as a tar stream, without what the patterns exclude.

    With ``include`` only what these patterns name; with ``follow`` only what these paths and
    patterns name, the directories they are in, and what links among them lead to. What ``earlier``
    has is not asked for; when nothing changed, the stream is empty.
    """
    transfer = _Transfer(session, directory, meter, _Patterns(include, exclude, follow), earlier)
    at = 0
    async for entry, chunks in transfer.entries():
        head = _tar_entry(entry)
        if head is None:
            continue
        data = _encoded(head)
        yield data
        start = at = at + len(data)
        content = _Counted(chunks)
        async for piece in _padded(head, content):
            at += len(piece)
            yield piece
        if earlier is not None and head.size and content.size == head.size:
            earlier.note(entry.path, entry.size, entry.modTime, start)
    if earlier is None or not earlier.unchanged:
        yield bytes(1024)


class _Counted:
    """Pieces, and how many bytes they were."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self.size = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await anext(self._pieces)
        self.size += len(piece)
        return piece


async def _padded(head: tarfile.TarInfo, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """As many bytes as the head says, to the end of a block; it may shrink while it is sent."""
    left = head.size
    async for chunk in chunks:
        piece = chunk[:left]
        left -= len(piece)
        yield piece
    if left > _MOST_MISSING:
        raise InvalidParameter(
            f"the client's file {head.name!r:.200} changed while it was sent: "
            f"{left} of its {head.size} bytes are missing"
        )
    left += -head.size % 512
    while left:
        zeros = bytes(min(left, 1 << 20))
        left -= len(zeros)
        yield zeros


class _Patterns(NamedTuple):
    """What of a directory is told of; empty ones leave it as it is."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    follow: Sequence[str] = ()


class _Transfer:
    """One call. With ``only``, files of other names are not asked for, whatever is told."""

    def __init__(
        self,
        session: Session,
        directory: str,
        meter: Meter | None,
        patterns: _Patterns,
        earlier: Earlier | None = None,
        only: Sequence[str] = (),
    ) -> None:
        self._session = session
        self._metadata = [
            *_told("dir-name", [directory]),
            *_told("include-patterns", patterns.include),
            *_told("exclude-patterns", patterns.exclude),
            *_told("followpaths", patterns.follow),
        ]
        self._directory = directory
        self._meter = meter or Meter()
        self._only = frozenset(only)
        self._earlier = earlier

    def wants(self, entry: Stat) -> bool:
        """Whether there is content to ask for; a file with a link name is a hard link."""
        is_file = not entry.mode & GO_TYPE_MASK and not entry.linkname
        return is_file and (not self._only or entry.path in self._only)

    async def entries(self) -> AsyncIterator[tuple[Stat, AsyncIterator[bytes]]]:
        """Every path with its content; the content must be read before the next path."""
        try:
            async with self._session.stream(METHOD, Packet, Packet, self._metadata) as stream:
                paths = await self._paths(stream)
                if self._unchanged(paths):
                    paths = []
                kept = self._kept(paths)
                asked = [p for p in paths if self.wants(p[1]) and p[0] not in kept]
                contents = _Contents(stream, asked, self._meter)
                for number, entry in paths:
                    if self._earlier is not None and number in kept:
                        yield entry, self._earlier.read(kept[number], entry.size)
                    elif self.wants(entry):
                        yield entry, contents.of(number)
                    else:
                        yield entry, _nothing()
                # Half-closed at once: a server in Go resets a stream that is open at its end.
                await stream.send_message(Packet(type=PACKET_FIN), end=True)
                await _finish(stream)
        except NotFound:
            raise InvalidParameter(
                f"the client offers no files, but the build wants its directory {self._directory!r}"
            ) from None

    def _unchanged(self, paths: list[tuple[int, Stat]]) -> bool:
        if self._earlier is None:
            return False
        told = hashlib.sha256(repr(self._metadata).encode())
        for _, entry in paths:
            told.update(repr(_facts(entry)).encode("utf-8", "backslashreplace"))
        certain = all(is_certain(entry.modTime) for _, entry in paths if self.wants(entry))
        return self._earlier.tell(told.hexdigest(), certain=certain)

    def _kept(self, paths: list[tuple[int, Stat]]) -> dict[int, int]:
        """Where the contents are that need not be sent, by number."""
        if self._earlier is None:
            return {}
        found = {}
        for number, entry in paths:
            if self.wants(entry):
                offset = self._earlier.find(entry.path, entry.size, entry.modTime)
                if offset is not None:
                    found[number] = offset
        return found

    async def _paths(self, stream: Stream[Any, Any]) -> list[tuple[int, Stat]]:
        found: list[tuple[int, Stat]] = []
        told = 0
        while True:
            packet = await _next(stream)
            if packet.type != PACKET_STAT:
                raise InvalidParameter(f"unexpected packet {packet.type} in a list of files")
            if packet.stat is None:
                self._meter.add(2)  # as BuildKit counts it
                return found
            told += _size(packet.stat)
            self._meter.add(_size(packet.stat) + _HEAD)
            if len(found) >= _MOST_PATHS:
                raise InvalidParameter(f"the context has more than {_MOST_PATHS} files")
            if told > _MOST_TOLD:
                raise InvalidParameter(
                    f"names and attributes of the context's files are more than {_MOST_TOLD} bytes"
                )
            found.append((len(found), packet.stat))


def _facts(entry: Stat) -> tuple[object, ...]:
    """All that is told of a path."""
    e = entry
    where, what = (e.path, e.linkname, e.devmajor, e.devminor), (e.mode, e.uid, e.gid)
    return (*where, *what, e.size, e.modTime, sorted(e.xattrs.items()))


def _told(name: str, values: Sequence[str]) -> list[tuple[str, str]]:
    """A list in the headers of a call, where only ASCII goes as it is."""
    if all(value.isascii() and value.isprintable() for value in values):
        return [(name, value) for value in values]
    return [(f"{name}-encoded", "1"), *((name, quote_plus(value)) for value in values)]


def _size(entry: Stat) -> int:
    """What is kept of a path until its turn comes, roughly in bytes."""
    attributes = sum(len(name) + len(value) for name, value in entry.xattrs.items())
    return len(entry.path) + len(entry.linkname) + attributes


class _Contents:
    """Asks for files a little ahead of when they are wanted, and sorts what arrives."""

    def __init__(
        self, stream: Stream[Any, Any], files: list[tuple[int, Stat]], meter: Meter
    ) -> None:
        self._stream = stream
        self._meter = meter
        self._files = files
        self._next = 0
        self._asked: dict[int, int] = {}  # number → size, of those that are under way
        self._arrived: dict[int, int] = {}
        self._waiting: dict[int, list[bytes]] = {}
        self._ended: set[int] = set()

    async def of(self, number: int) -> AsyncIterator[bytes]:
        """The content of the next file in the list."""
        while True:
            await self._ask()
            for chunk in self._waiting.get(number, ()):
                yield chunk
            self._waiting[number] = []
            if number in self._ended:
                break
            await self._take()
        self._waiting.pop(number, None)
        self._ended.discard(number)
        del self._asked[number]
        self._arrived.pop(number, None)

    async def _ask(self) -> None:
        while self._next < len(self._files):
            number, entry = self._files[self._next]
            size = sum(self._asked.values()) + entry.size
            if self._asked and (len(self._asked) >= _AHEAD_FILES or size > _AHEAD_BYTES):
                return
            self._next += 1
            self._asked[number] = entry.size
            await self._stream.send_message(Packet(type=PACKET_REQ, ID=number))

    async def _take(self) -> None:
        packet = await _next(self._stream)
        if packet.type != PACKET_DATA or packet.ID not in self._asked:
            raise InvalidParameter("the client sent a file that was not asked for")
        if packet.data:
            self._meter.add(len(packet.data))
            self._arrived[packet.ID] = self._arrived.get(packet.ID, 0) + len(packet.data)
            if self._arrived[packet.ID] <= self._asked[packet.ID]:  # it grew: the rest is dropped
                self._waiting.setdefault(packet.ID, []).append(packet.data)
        else:
            self._ended.add(packet.ID)


async def _next(stream: Stream[Any, Any]) -> Packet:
    packet: Packet | None = await stream.recv_message()
    if packet is None:
        raise Unavailable("the client ended the transfer of its files early")
    if packet.type == PACKET_ERR:
        reason = packet.data.decode(errors="replace")
        raise InvalidParameter(f"the client cannot send its files: {reason}")
    return packet


async def _finish(stream: Stream[Any, Any]) -> None:
    while (packet := await stream.recv_message()) is not None:
        if packet.type == PACKET_ERR:
            raise InvalidParameter(f"the client failed: {packet.data.decode(errors='replace')}")


async def _nothing() -> AsyncIterator[bytes]:
    chunks: tuple[bytes, ...] = ()
    for chunk in chunks:
        yield chunk


def _encoded(head: tarfile.TarInfo) -> bytes:
    try:
        return head.tobuf(tarfile.PAX_FORMAT)
    except ValueError as error:  # numbers and names are the client's
        raise InvalidParameter(
            f"the client's file {head.name!r:.200} is refused: {error}"
        ) from None


def _tar_entry(entry: Stat) -> tarfile.TarInfo | None:
    """The head of a path's entry; None for what archives have no word for."""
    mode = unix_mode(entry.mode)
    kinds = {
        stat.S_IFDIR: tarfile.DIRTYPE,
        stat.S_IFLNK: tarfile.SYMTYPE,
        stat.S_IFIFO: tarfile.FIFOTYPE,
        stat.S_IFCHR: tarfile.CHRTYPE,
        stat.S_IFBLK: tarfile.BLKTYPE,
        stat.S_IFREG: tarfile.LNKTYPE if entry.linkname else tarfile.REGTYPE,
    }
    kind = kinds.get(stat.S_IFMT(mode))
    if kind is None:
        return None
    head = tarfile.TarInfo(entry.path)
    head.type, head.mode = kind, stat.S_IMODE(mode)
    head.uid, head.gid = entry.uid, entry.gid
    head.mtime = entry.modTime / 1e9
    head.linkname = entry.linkname
    head.devmajor, head.devminor = entry.devmajor, entry.devminor
    head.size = max(entry.size, 0) if kind == tarfile.REGTYPE else 0
    head.pax_headers = {
        f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")
        for name, value in entry.xattrs.items()
    }
    return head
