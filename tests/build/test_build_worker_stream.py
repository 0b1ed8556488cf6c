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

from ketch.build import tasks
from ketch.engine.builder_worker import BuildWorker
from ketch.engine.pipes import fed
from ketch.errors import KetchError
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
            await asyncio.wait_for(fed(endless(), receive), 10)
    finally:
        await worker.close()


def test_a_layer_that_was_written_before_anybody_read(tmp_path: Path) -> None:
    """Whoever stores the layer may come late, when the pipe has it and its writer is gone."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    os.mkfifo(tmp_path / "pipe")
    held = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    (tmp_path / "pipe").write_bytes(out.getvalue())
    directory = os.open(tmp_path, os.O_RDONLY)
    store = tasks._requests(-1, directory)["store"]
    try:
        found = store({"pipe": "pipe", "root": str(tmp_path / "data"), "snapshotter": "erofs"})
    finally:
        os.close(held)
        os.close(directory)
    assert found["entries"] == 1
    assert found["diff_id"] == "sha256:" + hashlib.sha256(out.getvalue()).hexdigest()
