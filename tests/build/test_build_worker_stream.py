"""A worker that gives up in the middle of a context must not leave its client waiting."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ketch.engine.builder_worker import BuildWorker
from ketch.engine.pipes import fed
from ketch.errors import KetchError
from ketch.runtime import failures


class FullDisk:
    """A launcher whose worker answers the first request with a failure and lives on."""

    async def work(self, _task: str, _args: dict[str, Any], fds: list[int]) -> dict[str, Any]:
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
