"""Waiting until a start is over, each waiter with a patience of its own."""

import asyncio


class StartWaits:
    """Who waits for which start. What is not waited for leaves nothing behind."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    async def wait(self, key: str, patience: float) -> None:
        """Until ``over(key)``, or for ``patience`` seconds."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        others = self._waiting.setdefault(key, set())
        others.add(over)
        try:
            await asyncio.wait({over}, timeout=patience)
        finally:
            others.discard(over)
            if not others and self._waiting.get(key) is others:
                del self._waiting[key]

    def over(self, key: str) -> None:
        """The start has ended, whatever came of it."""
        for waiter in self._waiting.pop(key, ()):
            waiter.set_result(None)
