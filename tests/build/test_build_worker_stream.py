"""A worker that gives up in the middle of a context must not leave its client waiting."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import socket
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ketch.build.tasks import serving
from ketch.engine.builder.contexts.seen import SeenContexts
from ketch.engine.builder.worker import BuildWorker
from ketch.engine.builder.workers import BuildWorkers
from ketch.engine.pipes import fed
from ketch.errors import KetchError, Unavailable
from ketch.runtime import failures


class FullDisk:
    """A launcher whose worker answers the first request with a failure and lives on."""

    async def work(
        self, _task: str, _args: dict[str, Any], fds: list[int], *, linger: float
    ) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        with socket.socket(fileno=os.dup(fds[0])) as control:
            _, given, _, _ = await asyncio.to_thread(socket.recv_fds, control, 1, 2)
            for fd in given:
                os.close(fd)
            control.setblocking(False)
            while await loop.sock_recv(control, 65536):
                answer = {"failed": failures.to_wire(KetchError("the disk is full"))}
                await loop.sock_sendall(control, json.dumps(answer).encode() + b"\n")
        return {}


class Stuck:
    """A launcher whose worker never answers."""

    def __init__(self) -> None:
        self.killed = False

    async def work(self, *_: Any, linger: float) -> dict[str, Any]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.killed = True
            raise
        return {}


class Gone:
    """A launcher whose worker dies with what it was given unread; who waits hears of it later."""

    def __init__(self) -> None:
        self.died = asyncio.Event()
        self.known = asyncio.Event()

    async def work(
        self, _task: str, _args: dict[str, Any], fds: list[int], *, linger: float
    ) -> dict[str, Any]:
        with socket.socket(fileno=os.dup(fds[0])) as control:
            control.shutdown(socket.SHUT_RDWR)
        self.died.set()
        await self.known.wait()
        return {}


class Dying:
    """Hands out workers that die when the pipe is bad."""

    def take(self) -> Any:
        return self

    async def begin(self, _directory: str, _stream: int) -> None:
        return None

    async def ask(self, _what: str, _lent: int, **request: Any) -> dict[str, Any]:
        if request["pipe"] == "good":
            return {"entries": 0}
        raise Unavailable("the worker of the build died")

    async def close(self) -> None:
        return None


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 65536


async def test_the_rest_of_the_context_is_not_waited_for(tmp_path: Path) -> None:
    launcher: Any = FullDisk()
    worker = BuildWorker(launcher)
    worker.start()

    async def receive(stream: int) -> Any:
        await worker.begin(str(tmp_path), stream)
        return await worker.ask("receive")

    try:
        with pytest.raises(KetchError, match="the disk is full"):
            await asyncio.wait_for(fed(endless(), receive), 60)
    finally:
        await worker.close()


async def test_a_worker_that_does_not_end_is_killed(tmp_path: Path) -> None:
    launcher: Any = Stuck()
    worker = BuildWorker(launcher)
    worker.start()
    await worker.begin(str(tmp_path), -1)
    asking = asyncio.create_task(worker.ask("ingest"))
    await asyncio.sleep(0)
    await worker.close(patience=0.01)
    with pytest.raises(Unavailable, match="the worker of the build died"):
        await asking
    assert launcher.killed
    assert not worker.alive


def test_a_worker_that_died_before_the_first_request(tmp_path: Path) -> None:
    """uvloop raises ``RuntimeError`` when something is written to a connection that is over."""

    async def ask() -> None:
        launcher: Any = Gone()
        worker = BuildWorker(launcher)
        worker.start()
        await worker.begin(str(tmp_path), -1)
        await launcher.died.wait()
        try:
            for _ in range(2):  # the second one finds the connection closed
                with pytest.raises(Unavailable, match="the worker of the build died"):
                    await worker.ask("receive")
        finally:
            launcher.known.set()
            await worker.close()

    uvloop.run(ask())


async def test_a_worker_without_a_build_ends_at_once() -> None:
    launcher: Any = FullDisk()
    worker = BuildWorker(launcher)
    worker.start()
    await asyncio.sleep(0)
    await worker.close()
    assert not worker.alive


async def test_what_a_dead_worker_left_of_a_layer_goes_with_the_build(tmp_path: Path) -> None:
    abandoned: list[str] = []
    spare: Any = Dying()
    cloner: Any = None
    workers = BuildWorkers(spare, str(tmp_path), cloner, abandoned.append, SeenContexts(), most=1)
    await workers.store("store", pipe="good")
    with pytest.raises(Unavailable):
        await workers.store("store", pipe="bad")
    assert not abandoned
    await workers.close()
    assert len(abandoned) == 1


def test_a_layer_that_was_written_before_anybody_read(tmp_path: Path) -> None:
    """Whoever stores the layer may come late, when the pipe has it and its writer is gone."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    os.mkfifo(tmp_path / "pipe")
    held = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    (tmp_path / "pipe").write_bytes(out.getvalue())
    directory = os.open(tmp_path, os.O_RDONLY)
    store = serving._requests(-1, directory, socket.socket())["store"]
    try:
        found = store({"pipe": "pipe", "root": str(tmp_path / "data"), "snapshotter": "erofs"})
    finally:
        os.close(held)
        os.close(directory)
    assert found["entries"] == 1
    assert found["diff_id"] == "sha256:" + hashlib.sha256(out.getvalue()).hexdigest()
