"""A directory of a client's as an image in its build's directory: what comes, or what was kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from ketch.engine.pipes import fed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ketch.engine.builder.contexts.earlier import Earlier, KeptContexts
    from ketch.engine.builder.workers import BuildWorkers


async def receive_context(
    workers: BuildWorkers,
    name: str,
    stream: AsyncIterator[bytes],
    contexts: KeptContexts,
    earlier: Earlier,
    whose: tuple[str, str],
    paths: Sequence[str],
) -> None:
    """Take the tar ``stream`` for the context ``name``: the image of before when nothing changed,
    or a new one, which is kept for the next build. ``whose`` are client and directory, ``paths``
    what was asked for of it."""
    first = await anext(stream, b"")
    image = workers.new_image(name)
    if earlier.unchanged:
        received = await contexts.adopt(earlier, workers.path(image))
        workers.received[name] = {**received, "image": image}
        return

    async def receive(fd: int) -> Any:
        return await workers.receive_image(fd, name, image=image)

    received = await fed(_with(first, stream), receive)
    contexts.keep(*whose, workers.path(image), received, earlier, paths)


async def _with(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
