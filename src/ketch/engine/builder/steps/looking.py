"""What a client looks at: trees of its builds."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec

from ketch.build.contexts.ignore import IgnoreRules
from ketch.build.executor import Tree
from ketch.engine.pipes import drained
from ketch.errors import InvalidParameter
from ketch.layers.globs import BadPattern

if TYPE_CHECKING:
    from ketch.engine.builder.room import BuildRoom

_TASKS = "ketch.build.tasks.look"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One file: ``mode`` as in stat(2), ``modified`` in ns since the epoch, where it links to,
    what was read of it."""

    name: str
    mode: int
    uid: int
    gid: int
    size: int
    modified: int
    link: str = ""
    data: bytes = b""


def _rules(pattern: str) -> IgnoreRules:
    try:
        return IgnoreRules([pattern])
    except (BadPattern, re.error) as error:
        raise InvalidParameter(f"the pattern {pattern!r:.200}: {error}") from None


class Looking:
    """In one build's room, and gone with it."""

    def __init__(self, room: BuildRoom) -> None:
        self._room = room

    async def look(self, tree: Tree, path: str, offset: int = 0, size: int = 0) -> Seen:
        """A file's facts, and ``size`` bytes of it (-1: all); links are followed inside the tree.

        Raises ``NotFound``, ``InvalidParameter`` when more than 4 MiB are wanted.
        """
        args = {"path": path, "offset": offset, "size": size}
        facts, data = await self._asked("look", args, tree)
        return msgspec.convert({**facts, "data": data}, Seen)

    async def entries(self, tree: Tree, path: str, pattern: str = "") -> list[Seen]:
        """What is in a directory, by name; ``pattern`` is one of ``.dockerignore``.

        Raises ``NotFound``, ``InvalidParameter``.
        """
        wanted = _rules(pattern) if pattern else None
        _, data = await self._asked("entries", {"path": path}, tree)
        found = msgspec.json.decode(data, type=list[Seen])
        return [one for one in found if wanted is None or wanted.excludes(one.name)]

    async def archive(self, tree: Tree, ignore: bytes) -> AsyncIterator[bytes]:
        """A tree as a tar stream, without what an ignore file excludes; closing the iterator ends
        the work."""
        view = await self._room.view(tree)
        args = {"ignore": b64encode(ignore).decode()}
        work = self._room.parts.launcher.work
        return await drained(lambda fd: work(f"{_TASKS}:archive", args, [fd], view))

    async def _asked(self, task: str, args: dict[str, Any], tree: Tree) -> tuple[Any, bytes]:
        """What a worker in the tree answers, and what it writes."""
        view = await self._room.view(tree)
        with os.fdopen(os.memfd_create(task), "rb") as file:
            work = self._room.parts.launcher.work
            answer = await work(f"{_TASKS}:{task}", args, [file.fileno()], view)
            file.seek(0)
            return answer, file.read()
