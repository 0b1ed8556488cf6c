"""Outputs to a client through its session (``moby.filesync.v1.FileSend``).

An archive is sent as it is. Files for a directory go by fsutil's transfer, of which ``filesync`` is
the other side: every path is told (``STAT``), then the content of those that are asked for
(``REQ`` → ``DATA``…, an empty one at the end); ``FIN`` closes it both ways. The client asks in an
order of its own, so the archive is kept in an unlinked file meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import stat
import tarfile
import tempfile
from collections.abc import AsyncIterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Protocol

from ketch.buildkit.messages.go_modes import go_mode
from ketch.buildkit.messages.session import (
    PACKET_DATA,
    PACKET_ERR,
    PACKET_FIN,
    PACKET_REQ,
    PACKET_STAT,
    BytesMessage,
    Packet,
    Stat,
)
from ketch.errors import InvalidParameter, NotFound, Unavailable

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from grpclib.client import Stream

METHOD = "/moby.filesync.v1.FileSend/DiffCopy"
_EXPORTER = "buildkit-attachable-exporter-id"
_CHUNK = 1 << 15
_KINDS = {
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}


class Caller(Protocol):
    """The part of a session that this needs."""

    def stream(
        self,
        method: str,
        request: type[Any],
        reply: type[Any],
        metadata: Sequence[tuple[str, str]] = (),
    ) -> AbstractAsyncContextManager[Stream[Any, Any]]:
        """A call with messages both ways."""


async def send_archive(session: Caller, number: int, pieces: AsyncIterator[bytes]) -> None:
    """One archive, for the client's ``number``-th output."""
    metadata = [(_EXPORTER, str(number))]
    try:
        async with session.stream(METHOD, BytesMessage, BytesMessage, metadata) as stream:
            async for piece in pieces:
                for start in range(0, len(piece), _CHUNK):
                    await stream.send_message(BytesMessage(data=piece[start : start + _CHUNK]))
            await stream.end()
            while await stream.recv_message() is not None:
                pass
    except NotFound:
        raise InvalidParameter(_NO_TAKER.format(number + 1)) from None


_NO_TAKER = "the client takes no files, but output {} of the build is for it"


async def send_files(
    session: Caller, number: int, pieces: AsyncIterator[bytes], scratch: str
) -> None:
    """The files of an archive; ``scratch`` is a directory for it meanwhile."""
    with tempfile.TemporaryFile(dir=scratch) as spool:
        async for piece in pieces:
            await asyncio.to_thread(spool.write, piece)
        members = await asyncio.to_thread(_members, spool)
        metadata = [(_EXPORTER, str(number))]
        try:
            async with session.stream(METHOD, Packet, Packet, metadata) as stream:
                for member in members:
                    await stream.send_message(Packet(type=PACKET_STAT, stat=_stat(member)))
                await stream.send_message(Packet(type=PACKET_STAT))
                await _answer(stream, members, spool)
        except NotFound:
            raise InvalidParameter(_NO_TAKER.format(number + 1)) from None


async def _answer(stream: Any, members: list[tarfile.TarInfo], spool: IO[bytes]) -> None:
    while True:
        packet = await stream.recv_message()
        if packet is None:
            raise Unavailable("the client ended the transfer of an output early")
        if packet.type == PACKET_FIN:
            break
        if packet.type == PACKET_ERR:
            reason = packet.data.decode(errors="replace")
            raise InvalidParameter(f"the client cannot take the output: {reason}")
        if packet.type != PACKET_REQ or not 0 <= packet.ID < len(members):
            raise InvalidParameter("the client asked for a file that it was not told of")
        await _content(stream, packet.ID, members[packet.ID], spool)
    await stream.send_message(Packet(type=PACKET_FIN))
    await stream.end()


async def _content(stream: Any, number: int, member: tarfile.TarInfo, spool: IO[bytes]) -> None:
    offset, left = member.offset_data, member.size if member.isreg() else 0
    while left:
        data = await asyncio.to_thread(os.pread, spool.fileno(), min(left, _CHUNK * 8), offset)
        for start in range(0, len(data), _CHUNK):
            piece = data[start : start + _CHUNK]
            await stream.send_message(Packet(type=PACKET_DATA, ID=number, data=piece))
        offset, left = offset + len(data), left - len(data)
    await stream.send_message(Packet(type=PACKET_DATA, ID=number))


def _members(spool: IO[bytes]) -> list[tarfile.TarInfo]:
    """In the order that fsutil wants: by the parts of their paths."""
    spool.flush()
    spool.seek(0)
    with tarfile.open(fileobj=spool, mode="r:") as archive:
        found = archive.getmembers()
    for member in found:
        member.name = member.name.strip("/")
        try:
            (member.name + member.linkname).encode()
        except UnicodeEncodeError:
            raise InvalidParameter(
                f"the file {member.name!a} can't be sent: its name is no UTF-8; use type=tar"
            ) from None
    return sorted(found, key=lambda member: [part.encode() for part in member.name.split("/")])


def _stat(member: tarfile.TarInfo) -> Stat:
    kind = _KINDS.get(member.type, stat.S_IFREG)
    mode = go_mode(kind | stat.S_IMODE(member.mode))
    xattrs = {
        name.removeprefix("SCHILY.xattr."): value.encode("utf-8", "surrogateescape")
        for name, value in member.pax_headers.items()
        if name.startswith("SCHILY.xattr.")
    }
    return Stat(
        path=member.name,
        mode=mode,
        uid=member.uid,
        gid=member.gid,
        size=member.size if kind == stat.S_IFREG else 0,
        modTime=int(member.mtime * 1_000_000_000),
        linkname=member.linkname,
        devmajor=member.devmajor,
        devminor=member.devminor,
        xattrs=xattrs,
    )
