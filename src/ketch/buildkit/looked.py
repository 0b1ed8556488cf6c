"""Trees that clients look at through the gateway (``ReadFile``, ``StatFile``), by job."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from ketch.buildkit.graphs import files_of
from ketch.errors import NotFound

if TYPE_CHECKING:
    from ketch.buildkit.graph_messages import Definition
    from ketch.buildkit.sessions import Session
    from ketch.engine.builder.builder import Builder
    from ketch.engine.builder.channel import Channel
    from ketch.engine.builder.looking import FetchedTree


class LookedTrees:
    """Of one job; they are fetched once, and kept until it is over."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._stack = AsyncExitStack()
        self._trees: dict[str, FetchedTree] = {}

    async def add(self, definition: Definition, session: Session, channel: Channel) -> str:
        """The name of the tree that a graph comes to; raises what fetching does."""
        files = files_of(definition)
        looking = self._builder.looking(session, channel)
        tree = await self._stack.enter_async_context(looking)
        await tree.fetch(files.url, files.name)
        name = secrets.token_hex(16)
        self._trees[name] = tree
        return name

    def __contains__(self, name: str) -> bool:
        return name in self._trees

    def get(self, name: str) -> FetchedTree:
        """Raises ``NotFound``."""
        if name not in self._trees:
            raise NotFound(f"the build has no files {name!r:.100} to look at")
        return self._trees[name]

    async def close(self) -> None:
        """Throw them away."""
        self._trees.clear()
        await self._stack.aclose()
