"""Clients on a container's stdio: held before the start, handed to the shim after it."""

from __future__ import annotations

import asyncio
import struct
from base64 import b64encode
from typing import TYPE_CHECKING

from ketch.engine.containers import detach_keys
from ketch.engine.containers.attach_options import AttachOptions
from ketch.engine.containers.logs import LogOptions
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.errors import Conflict, NotFound
from ketch.runtime.messages import Attach

if TYPE_CHECKING:
    from ketch.engine.containers.logs import Logs
    from ketch.engine.containers.parts import Parts

_STREAM_NUMBERS = {"stdout": 1, "stderr": 2}


def attach_wire(options: AttachOptions) -> Attach:
    """The ATTACH object of the launcher protocol."""
    return {
        "stdin": options.stdin,
        "stdout": options.stdout,
        "stderr": options.stderr,
        "framed": options.framed,
        "detach_keys": detach_keys.parse(options.detach_keys),
        "input": b64encode(options.read_ahead).decode(),
    }


class Attacher:
    """See the module's docstring."""

    def __init__(self, parts: Parts, logs: Logs) -> None:
        self._parts = parts
        self._logs = logs

    def check(self, ref: str) -> ContainerRecord:
        """The record, if it can be attached to; raises ``NotFound`` or ``Conflict``."""
        record = self._parts.store.resolve(ref)
        if record.state.status is Status.PAUSED:
            raise Conflict(f"container {ref} is paused, unpause the container before attach")
        if record.state.status is Status.RESTARTING:
            raise Conflict(f"container {ref} is restarting, wait until the container is running")
        return record

    async def attach(self, ref: str, options: AttachOptions) -> None:
        """Take over the client's socket; before the start there is no waiting in here."""
        try:
            record = self.check(ref)
            detach_keys.parse(options.detach_keys)
            self._parts.publish(record, "attach")
            if options.logs:
                await self._replay(ref, options)
            if options.stream:
                await self._connect(record, options)
            else:
                options.sock.close()
        except BaseException:
            options.sock.close()
            raise

    async def _connect(self, record: ContainerRecord, options: AttachOptions) -> None:
        live = self._parts.live[record.id]
        if live.shim is None:
            live.waiting.append(options)
            return
        try:
            await live.shim.attach(options.sock, attach_wire(options))
        except NotFound:
            pass  # it ended meanwhile: the client sees the end of the stream
        options.sock.close()

    async def _replay(self, ref: str, options: AttachOptions) -> None:
        """What was said before, from the log."""
        loop = asyncio.get_running_loop()
        options.sock.setblocking(False)
        wanted = LogOptions(stdout=options.stdout, stderr=options.stderr)
        async for entries in await self._logs.read(ref, wanted):
            for entry in entries:
                data = entry.data
                if options.framed:
                    data = struct.pack(">BxxxI", _STREAM_NUMBERS[entry.stream], len(data)) + data
                await loop.sock_sendall(options.sock, data)

    async def resize(self, ref: str, height: int, width: int) -> None:
        """Set the terminal's size, if it has one; raises ``Conflict`` when it does not run."""
        record = self._parts.store.resolve(ref)
        shim = self._parts.live[record.id].shim
        if shim is None:
            raise Conflict(f"container {record.id} is not running")
        if record.spec.tty:
            await shim.resize(height, width)
        self._parts.publish(record, "resize", height=str(height), width=str(width))
