"""A layer that no record names yet is not collected while its image is made."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from ketch.engine.containers.commit import Committer
from ketch.engine.containers.record import Status
from ketch.engine.images.values import CommitOptions


class Held:
    """The parts of an engine that a commit needs; ``seen`` says what was done, held or not."""

    def __init__(self) -> None:
        self.holding = False
        self.seen: list[tuple[str, bool]] = []
        self.config = SimpleNamespace(data_root="/nowhere")
        self.snapshots = SimpleNamespace(name="erofs")
        self.store, self.images, self.launcher = self, self, self

    @contextlib.asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        self.holding = True
        yield
        self.holding = False

    @contextlib.asynccontextmanager
    async def locked(self, _ref: str) -> AsyncIterator[Any]:
        yield SimpleNamespace(id="c", state=SimpleNamespace(status=Status.EXITED))

    async def work(self, task: str, _args: dict[str, Any]) -> dict[str, Any]:
        self.seen.append((task.rpartition(":")[2], self.holding))
        return {"diff_id": "sha256:" + "0" * 64}


async def test_from_the_layer_to_the_record() -> None:
    parts: Any = Held()
    committer = Committer(parts)

    async def store(_record: Any, _layer: str, _options: CommitOptions) -> str:
        parts.seen.append(("store", parts.holding))
        return "image"

    committer._store = store  # type: ignore[method-assign]
    assert await committer.commit("c", CommitOptions()) == "image"
    assert parts.seen == [("ingest_diff", True), ("store", True)]
    assert not parts.holding
