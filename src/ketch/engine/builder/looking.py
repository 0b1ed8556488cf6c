"""Files that a client looks at without building: of a repository, an archive, or at a URL."""

from __future__ import annotations

import os
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import msgspec

from ketch.build.git_remote import is_git, parse_remote
from ketch.engine.builder.fetch import save
from ketch.engine.builder.remote import archive
from ketch.engine.builder.workers import directory_of
from ketch.engine.http_get import opened
from ketch.engine.pipes import fed
from ketch.engine.storing import storing

if TYPE_CHECKING:
    from ketch.engine.builder.room import BuildRoom


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One file: ``mode`` as in stat(2), ``modified`` in ns since the epoch, what was read of it."""

    mode: int
    size: int
    modified: int
    data: bytes


class FetchedTree:
    """In a build's room, and gone with it."""

    def __init__(self, room: BuildRoom) -> None:
        self._room = room
        self._tree = directory_of("")

    async def fetch(self, url: str, name: str = "") -> None:
        """What is at a URL: unpacked, or as one file of that name."""
        report = self._room.reporting(f"[internal] load {url}")
        try:
            await self._fetch(url, name)
        except BaseException as error:
            report.end(error=str(error) or "canceled")
            raise
        report.end()

    async def _fetch(self, url: str, name: str) -> None:
        if name:
            self._room.make_directory(self._tree)
            path = f"{self._room.directory}/{self._tree}/{os.path.basename(name)}"
            async with opened(url, plain=True) as response:
                await save(url, response, path)
        elif is_git(url):
            await self._room.workers.cloner.clone(parse_remote(url), self._tree)
        else:

            async def receive(fd: int) -> Any:
                return await self._room.workers.receive(fd, dockerfile="", directory=self._tree)

            with storing("the build context"):
                await fed(archive(url), receive)

    async def look(self, path: str, offset: int = 0, size: int = 0) -> Seen:
        """A file's facts, and ``size`` bytes of it (-1: all); links are followed inside the tree.

        Raises ``NotFound``, ``InvalidParameter`` when more than 4 MiB are wanted.
        """
        found = await self._room.workers.ask(
            "look", tree=self._tree, path=path, offset=offset, size=size
        )
        return Seen(
            mode=found["mode"],
            size=found["size"],
            modified=found["modified"],
            data=b64decode(found["data"]),
        )
