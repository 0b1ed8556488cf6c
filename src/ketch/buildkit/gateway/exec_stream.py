"""``ExecProcess``: one stream of messages both ways that carries all programs of a client.

Messages name their program. What a program writes waits until the client takes it; what it is sent
waits here, up to a bound, so that a signal to another program is heard.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ketch.buildkit.messages.container import (
    DoneMessage,
    ExecMessage,
    ExitMessage,
    FdMessage,
    InitMessage,
    StartedMessage,
)
from ketch.buildkit.messages.gateway import Status
from ketch.engine.containers import signals
from ketch.errors import Conflict, KetchError, StartFailed

if TYPE_CHECKING:
    from grpclib.server import Stream

    from ketch.buildkit.gateway.containers import JobContainers
    from ketch.engine.builder.steps.process import BuildProcess

_WAITING = 64  # messages of input
_UNKNOWN_EXIT = 255
_UNKNOWN = 2  # of google.rpc.Code


class ExecStream:
    """One of them; when it breaks, its programs are killed."""

    def __init__(self, stream: Stream[Any, Any], containers: JobContainers) -> None:
        self._stream = stream
        self._containers = containers
        self._sending = asyncio.Lock()  # a message is sent in pieces
        self._programs: dict[str, _Program] = {}

    async def run(self) -> None:
        """Until the client sends no more and all programs are over."""
        try:
            async for message in self._stream:
                await self._take(message)
            running = [program.task for program in self._programs.values()]
            await asyncio.gather(*running)
        finally:
            left = [program.task for program in self._programs.values()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _take(self, message: ExecMessage) -> None:
        if message.Init is not None:
            if message.ProcessID in self._programs:
                raise Conflict(f"the process {message.ProcessID!r:.100} exists already")
            program = _Program(self, message.ProcessID, message.Init)
            self._programs[message.ProcessID] = program
            program.task.add_done_callback(lambda _: self._programs.pop(program.id, None))
            return
        if message.Signal is not None:
            signals.parse(message.Signal.Name)  # as BuildKit: one that is not ends the stream
        known = self._programs.get(message.ProcessID)
        if known is not None:  # or it ended a moment ago
            await known.put(message)

    async def tell(self, program: str, **part: Any) -> None:
        """Send one message about a program."""
        async with self._sending:
            await self._stream.send_message(ExecMessage(ProcessID=program, **part))

    async def start(self, init: InitMessage) -> BuildProcess:
        """Raises what keeps it from running."""
        return await self._containers.start(init)


class _Program:
    """One program and what its client says to it."""

    def __init__(self, stream: ExecStream, id: str, init: InitMessage) -> None:
        self.id = id
        self._input: asyncio.Queue[FdMessage] = asyncio.Queue(_WAITING)
        self._orders: asyncio.Queue[ExecMessage] = asyncio.Queue(_WAITING)
        self._stream = stream
        self._fds = set(init.Fds)
        self.task = asyncio.create_task(self._run(init))

    async def put(self, message: ExecMessage) -> None:
        """What the client says; waits when there is much that the program has not taken."""
        if message.File is None:
            await self._orders.put(message)
        elif message.File.Fd == 0 and 0 in self._fds:
            await self._input.put(message.File)

    async def _run(self, init: InitMessage) -> None:
        try:
            process = await self._stream.start(init)
        except KetchError as error:
            await self._stream.tell(self.id, Started=StartedMessage())
            await self._ended(error.exit_code if isinstance(error, StartFailed) else 0, error)
            return
        listening = [
            asyncio.create_task(self._feed(process)),
            asyncio.create_task(self._obey(process)),
        ]
        try:
            await self._stream.tell(self.id, Started=StartedMessage())
            async for fd, data in process.output():
                if fd in self._fds:
                    await self._stream.tell(self.id, File=FdMessage(Fd=fd, Data=data))
            status = (await process.exited()).status
            await self._ended(status)
        except KetchError as error:
            await self._ended(0, error)
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
            await asyncio.shield(process.end())
            _empty(self._input)  # whoever waits in ``put`` goes on
            _empty(self._orders)

    async def _ended(self, code: int, error: KetchError | None = None) -> None:
        """All streams are over, it ended so, nothing comes any more."""
        for fd in sorted(self._fds - {0}):
            await self._stream.tell(self.id, File=FdMessage(Fd=fd, EOF=True))
        code = code or (_UNKNOWN_EXIT if error is not None else 0)
        reason = str(error) if error is not None else f"exit code: {code}"
        status = Status(code=_UNKNOWN, message=reason) if code else None
        await self._stream.tell(self.id, Exit=ExitMessage(Code=code, Error=status))
        await self._stream.tell(self.id, Done=DoneMessage())

    async def _feed(self, process: BuildProcess) -> None:
        """Its input."""
        while True:
            piece = await self._input.get()
            if piece.Data:
                await process.write(piece.Data)
            if piece.EOF:
                process.end_input()

    async def _obey(self, process: BuildProcess) -> None:
        """The terminal's size and signals, which do not wait for input to be taken."""
        while True:
            message = await self._orders.get()
            if message.Resize is not None:
                await process.resize(message.Resize.Rows, message.Resize.Cols)
            if message.Signal is not None:
                await process.signal(signals.parse(message.Signal.Name))


def _empty(queue: asyncio.Queue[Any]) -> None:
    while not queue.empty():
        queue.get_nowait()
