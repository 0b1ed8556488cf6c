"""Byte streams between the event loop and workers, over pipes."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from ketch.errors import DataCorrupt, InvalidParameter

_CHUNK = 256 * 1024
_F_SETPIPE_SZ = 1031
Work = Callable[[int], Awaitable[Any]]


async def drained(work: Work) -> AsyncIterator[bytes]:
    """Start ``work`` with the writing end of a pipe; an iterator over what it writes.

    A failure before the first byte is raised here, a later one by the iterator. Closing the
    iterator ends the work.
    """
    reading, writing = _pipe()
    os.set_blocking(reading, False)
    task = _run(work, writing)
    try:
        first = await _read(reading)
        if not first:
            await task
    except BaseException:
        task.cancel()
        os.close(reading)
        raise
    return _rest(first, reading, task)


async def _rest(first: bytes, reading: int, task: asyncio.Future[Any]) -> AsyncIterator[bytes]:
    try:
        chunk = first
        while chunk:
            yield chunk
            chunk = await _read(reading)
        await task
    finally:
        task.cancel()
        os.close(reading)


async def fed(data: AsyncIterator[bytes], work: Work) -> Any:
    """Start ``work`` with the reading end of a pipe and write ``data`` into it; its result.

    Work that ends early leaves the rest of the data unread. Raises ``InvalidParameter`` where the
    work finds the data malformed: it is a client's.
    """
    reading, writing = _pipe()
    os.set_blocking(writing, False)
    task = _run(work, reading)
    try:
        async for chunk in data:
            if not await _write(writing, memoryview(chunk)):
                break
    except BaseException:
        task.cancel()
        raise
    finally:
        os.close(writing)
    try:
        return await task
    except DataCorrupt as error:
        raise InvalidParameter(str(error)) from None


def _run(work: Work, fd: int) -> asyncio.Future[Any]:
    """The work as a task that owns ``fd``: closing it at the end is what tells the other side."""
    task = asyncio.ensure_future(work(fd))
    task.add_done_callback(lambda _: os.close(fd))
    return task


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        fcntl.fcntl(writing, _F_SETPIPE_SZ, 1 << 20)
    except OSError:
        pass  # over the user's pipe quota: the default size works too
    return reading, writing


async def _read(fd: int) -> bytes:
    while True:
        try:
            return os.read(fd, _CHUNK)
        except BlockingIOError:
            await _ready(fd, write=False)


async def _write(fd: int, data: memoryview) -> bool:
    """Write all; False when nobody reads any more."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            await _ready(fd, write=True)
        except BrokenPipeError:
            return False
    return True


async def _ready(fd: int, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    add, remove = (
        (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    )

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    add(fd, wake)
    try:
        await ready
    finally:
        remove(fd)
