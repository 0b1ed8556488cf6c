"""States of a client's build by the names that it was given: results, and where a step failed.

A client looks into them, runs containers over them, and names them as what it wants exported.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from ketch.build.executor import Tree
from ketch.errors import InvalidParameter, NotFound

if TYPE_CHECKING:
    from ketch.build.executor import RunStep, StepMount
    from ketch.engine.builder.steps.container import Containers
    from ketch.engine.builder.steps.looking import Seen


class State:
    """A tree of files, and what opens containers where it lies.

    ``kept`` names what a failed ``step`` changed on top of it. ``mount`` is the mount of a step
    that this was, if it was one: a cache knows by it what it begins with.
    """

    def __init__(
        self,
        containers: Containers,
        tree: Tree,
        *,
        kept: str = "",
        step: RunStep | None = None,
        mount: StepMount | None = None,
    ) -> None:
        self.containers = containers
        self.step = step
        self.mount = mount
        self._tree = tree
        self._kept = kept
        self._keeping = asyncio.Lock()

    async def tree(self) -> Tree:
        """Its files; those of a failed step become a layer when somebody first wants them."""
        async with self._keeping:
            if self._kept:
                layer = await self.containers.keep(self._kept)
                self._tree = Tree("layers", (*self._tree.layers, *([layer] if layer else [])))
                self._kept = ""
        return self._tree

    async def look(self, path: str, offset: int = 0, size: int = 0) -> Seen:
        """A file of it; see ``Looking.look``."""
        return await self.containers.looking.look(await self.tree(), path, offset, size)

    async def entries(self, path: str, pattern: str) -> list[Seen]:
        """A directory of it; see ``Looking.entries``."""
        return await self.containers.looking.entries(await self.tree(), path, pattern)

    async def layers(self) -> tuple[str, ...]:
        """As the root of a container; raises ``InvalidParameter`` for what has no layers."""
        tree = await self.tree()
        if tree.kind != "layers":
            raise InvalidParameter("files that were fetched or sent cannot be a container's root")
        return tree.layers


class States:
    """Those of one job."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}

    def add(self, state: State, name: str = "") -> str:
        """Its name, a new one by default."""
        name = name or secrets.token_hex(16)
        self._states[name] = state
        return name

    def __contains__(self, name: str) -> bool:
        return name in self._states

    def get(self, name: str) -> State:
        """Raises ``NotFound``."""
        if name not in self._states:
            raise NotFound(f"the build has no result {name!r:.100}")
        return self._states[name]
