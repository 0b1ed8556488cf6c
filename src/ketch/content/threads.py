"""Blocking calls from the event loop that must not outlive their caller.

``asyncio.to_thread`` can be cancelled, but its thread goes on: a file that the caller then closes
would be closed under it, and its number given to another file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def completed(function: Callable[..., T], *args: object) -> T:
    """Call ``function`` in a thread; when cancelled, wait for its end before passing that on."""
    task = asyncio.ensure_future(asyncio.to_thread(function, *args))
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        task.exception()  # seen, so that nobody complains that nobody looked
        raise asyncio.CancelledError
    return task.result()
