"""An engine without containers: enough behaviour to see what the API asks and how it answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import msgspec

from ketch.engine.containers.attach_options import AttachOptions
from ketch.engine.containers.exec_values import ExecRecord, ExecSpec
from ketch.engine.containers.files import PathStat
from ketch.engine.containers.logs import LogEntry, LogOptions
from ketch.engine.containers.record import (
    ContainerRecord,
    ContainerState,
    Endpoint,
    PortBinding,
    Status,
)
from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.containers.wait import ExitResult, Waiter
from ketch.engine.events.values import Event
from ketch.errors import Conflict, KetchError, NotFound, NotModified

ID = "c0ffee" + "0" * 58
EXEC_ID = "e" * 64


def record(**changes: Any) -> ContainerRecord:
    base = ContainerRecord(
        id=ID,
        name="web",
        created_at=1_700_000_000_123_000_000,
        image_id="sha256:" + "a" * 64,
        layers=("sha256:" + "b" * 64,),
        spec=ContainerSpec(
            image="busybox:1", cmd=("sleep", "9"), env=("A=1",), exposed_ports=("80/tcp",)
        ),
        state=ContainerState(
            status=Status.RUNNING,
            pid=4242,
            started_at=1_700_000_001_000_000_000,
            endpoints=(
                Endpoint(
                    network="bridge",
                    network_id="n" * 64,
                    endpoint_id="d" * 64,
                    ipv4="172.17.0.2",
                    ipv4_prefix=16,
                    gateway="172.17.0.1",
                    mac="02:42:ac:11:00:02",
                ),
            ),
            ports=(
                PortBinding(container_port=80, protocol="tcp", host_ip="0.0.0.0", host_port=8080),
            ),
        ),
        bundle="/data/containers/c0ffee",
        log_path="/data/containers/c0ffee/c0ffee-json.log",
    )
    return msgspec.structs.replace(base, **changes)


class FakeContainers:
    def image_names(self, records: list[ContainerRecord]) -> list[str]:
        return [record.spec.image for record in records]

    async def archive_get(self, ref: str, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        """A tree that cannot be read to its end."""

        async def chunks() -> AsyncIterator[bytes]:
            yield b"beginning"
            raise KetchError("the disk is broken")

        return PathStat(name="x", size=1, mode=0o644, mtime=0), chunks()

    def link_names(self, record: ContainerRecord) -> tuple[str, ...]:
        return ()

    def __init__(self) -> None:
        self.records = {ID: record()}
        self.created: list[tuple[ContainerSpec, str]] = []
        self.calls: list[tuple[Any, ...]] = []
        self.attached: asyncio.Queue[AttachOptions] = asyncio.Queue()
        self.waiters: list[Waiter] = []
        self.entries: list[LogEntry] = []
        self.blocked = asyncio.Event()

    async def get(self, ref: str) -> ContainerRecord:
        for item in self.records.values():
            if ref in (item.id, item.name) or item.id.startswith(ref):
                return item
        raise NotFound(f"No such container: {ref}")

    settled = get

    async def list(self, options: Any) -> list[ContainerRecord]:
        self.calls.append(("list", options))
        return list(self.records.values())

    async def create(self, spec: ContainerSpec, name: str = "") -> tuple[str, tuple[str, ...]]:
        self.created.append((spec, name))
        return ID, ()

    async def start(self, ref: str) -> None:
        await self.get(ref)
        raise NotModified("it runs")

    async def check_attach(self, ref: str) -> None:
        item = await self.get(ref)
        if item.state.status is Status.PAUSED:
            raise Conflict(f"container {ref} is paused, unpause the container before attach")

    async def attach(self, ref: str, options: AttachOptions) -> None:
        await self.attached.put(options)

    async def wait(self, ref: str, condition: Any) -> Waiter:
        await self.get(ref)
        waiter = Waiter(condition)
        self.waiters.append(waiter)
        return waiter

    async def resize(self, ref: str, height: int, width: int) -> None:
        self.calls.append(("resize", ref, height, width))

    async def logs(self, ref: str, options: LogOptions) -> AsyncIterator[list[LogEntry]]:
        self.calls.append(("logs", options))
        return self._entries(options.follow)

    async def _entries(self, follow: bool) -> AsyncIterator[list[LogEntry]]:
        yield self.entries
        if follow:
            await self.blocked.wait()

    async def archive_stat(self, ref: str, path: str) -> PathStat:
        if path == "/nope":
            raise NotFound(f"Could not find the file {path} in container {ref}")
        return PathStat(name="etc", size=4096, mode=0o40755, mtime=1_700_000_000_000_000_000)


class FakeExecs:
    def __init__(self) -> None:
        self.created: list[ExecSpec] = []
        self.started: asyncio.Queue[Any] = asyncio.Queue()

    def running_in(self, container_id: str) -> tuple[str, ...]:
        return ()

    async def create(self, ref: str, spec: ExecSpec) -> str:
        self.created.append(spec)
        return EXEC_ID

    async def check_start(self, exec_id: str) -> None:
        await self.inspect(exec_id)

    async def inspect(self, exec_id: str) -> ExecRecord:
        if exec_id != EXEC_ID:
            raise NotFound(f"No such exec instance: {exec_id}")
        spec = self.created[-1] if self.created else ExecSpec(cmd=("true",), attach_stdout=True)
        return ExecRecord(id=EXEC_ID, container_id=ID, spec=spec, exit_code=0)

    async def start(self, exec_id: str, attach: Any = None, console_size: Any = (0, 0)) -> None:
        await self.started.put((attach, console_size))


class FakeEvents:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event] = asyncio.Queue()

    def flush(self) -> None:
        """Nothing is ever pending."""

    async def stream(self, since: int = 0, until: int = 0, filters: Any = None) -> Any:
        while True:
            yield await self.queue.get()


class FakeEngine:
    def __init__(self) -> None:
        self.containers = FakeContainers()
        self.execs = FakeExecs()
        self.events = FakeEvents()
        self.images = SimpleNamespace(platform_manifests=dict)
        self.system = SimpleNamespace(storage_driver="erofs")


def finish(waiter: Waiter, status: int) -> None:
    waiter.resolve(ExitResult(status=status))


def talk(sock: socket.socket, text: bytes) -> None:
    sock.setblocking(True)
    sock.sendall(text)
