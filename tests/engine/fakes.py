"""Stand-ins for the rooms below the engine, so that its rules are tested without a kernel.

A fake process "runs" until it is signalled or its script says that it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ketch.engine.containers.parts import Config
from ketch.engine.engine import Engine, Rooms
from ketch.engine.events.events import Events
from ketch.engine.images.values import ImageRecord
from ketch.engine.volumes.mounts import VolumeMounts, no_work
from ketch.engine.volumes.values import VolumeRecord
from ketch.errors import Conflict, NotFound, StartFailed
from ketch.links import Link
from ketch.mounts import Mount, Rootfs
from ketch.oci.image import ImageConfig, RunConfig
from ketch.runtime.remote import Exit, Started
from ketch.state.database import Database

_NOBODY = (1 << 22) + 1  # above pid_max: no process has it
IMAGE = ImageRecord(id="sha256:" + "1" * 64, layers=("sha256:" + "2" * 64,), tags=("box:latest",))


class FakeShim:
    """A process: ``end`` is what the outside world does to it."""

    def __init__(self, name: str, failure: StartFailed | None = None) -> None:
        self.name = name
        self.failure = failure
        self.signals: list[int] = []
        self.ignores: set[int] = set()
        self.reaped = False
        self.clients: list[Any] = []
        self.sizes: list[tuple[int, int]] = []
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    async def started(self) -> Started:
        await asyncio.sleep(0)
        if self.failure:
            raise self.failure
        return Started(_NOBODY, time.time_ns(), {})

    async def exited(self) -> Exit:
        return await asyncio.shield(self._exit)

    async def signal(self, number: int) -> None:
        if self._exit.done():
            raise NotFound("ended")
        self.signals.append(number)
        if number not in self.ignores:
            self.end(128 + number, number)

    async def attach(self, sock: Any, attach: Any) -> None:
        self.clients.append(attach)

    async def resize(self, height: int, width: int) -> None:
        self.sizes.append((height, width))

    async def state(self) -> dict[str, Any]:
        return {"exit": {"status": self._exit.result().status} if self._exit.done() else None}

    def end(self, status: int, signal: int = 0) -> None:
        if not self._exit.done():
            self._exit.set_result(Exit(status, signal, False, time.time_ns()))

    def reap(self) -> None:
        self.reaped = True

    def close(self) -> None:
        pass


class FakeLauncher:
    """Remembers what it was asked; ``script`` is called with each new process."""

    def __init__(self) -> None:
        self.starts: list[dict[str, Any]] = []
        self.execs: list[dict[str, Any]] = []
        self.clients: list[Any] = []
        self.shims: dict[str, FakeShim] = {}
        self.script: Callable[[FakeShim], None] = lambda shim: None
        self.failure: StartFailed | None = None
        self.on_lost: Callable[[], None] | None = None
        self.warmed: list[str] = []
        self.works: list[tuple[str, dict[str, Any]]] = []

    async def start(self, start: dict[str, Any], clients: Sequence[Any] = ()) -> FakeShim:
        self.starts.append(start)
        self.clients += [attach for _, attach in clients]
        return self._process(start["id"])

    async def exec(self, job: dict[str, Any], clients: Sequence[Any] = ()) -> FakeShim:
        self.execs.append(job)
        return self._process(job["id"])

    def _process(self, name: str) -> FakeShim:
        shim = self.shims[name] = FakeShim(name, self.failure)
        self.script(shim)
        return shim

    async def warm(self, warm: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        self.warmed.append(warm["id"])

    async def drop_warm(self, ids: Sequence[str] | None = None) -> None:
        self.warmed = [name for name in self.warmed if ids is not None and name not in ids]

    async def work(self, task: str, args: dict[str, Any], *rest: Any) -> dict[str, Any]:
        self.works.append((task, args))
        return {"diff_id": "sha256:" + "3" * 64}


class FakeSnapshots:
    """Keys in a set."""

    name = "fake"

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def prepare(self, key: str, layers: Sequence[str]) -> None:
        if key in self.keys:
            raise Conflict(key)
        self.keys.add(key)

    def rootfs(self, key: str, *, volatile: bool = False) -> Rootfs:
        if key not in self.keys:
            raise NotFound(key)
        return Rootfs((Mount("bind", "/nowhere"),), "/upper", "/work")

    def view(self, layers: Sequence[str]) -> Rootfs:
        return Rootfs((Mount("bind", "/nowhere"),))

    def usage(self, key: str) -> Any:
        return SimpleNamespace(size=7, inodes=1)

    def layer(self, diff_id: str) -> Any:
        return SimpleNamespace(size=100)

    def has_layer(self, diff_id: str) -> bool:
        return True

    def snapshots(self) -> Iterator[str]:
        return iter(self.keys)

    def remove(self, key: str) -> None:
        self.keys.discard(key)

    def discard(self, path: str) -> None:
        shutil.rmtree(path, ignore_errors=True)


class FakeImages:
    """One image, ``box``."""

    def __init__(self) -> None:
        self.run = RunConfig(cmd=["sh"], env=["PATH=/bin"])
        self.committed: list[Any] = []

    def hold(self) -> contextlib.AbstractAsyncContextManager[None]:
        return contextlib.nullcontext()

    def empty_trash_soon(self) -> None:
        """There is none."""

    def close(self) -> None:
        """There is nothing to end."""

    def resolve(self, ref: str, platform: str = "") -> ImageRecord:
        if ref not in ("box", "box:latest", IMAGE.id):
            raise NotFound(f"No such image: {ref}:latest")
        return IMAGE

    def config(self, image_id: str) -> ImageConfig:
        return ImageConfig(architecture="amd64", os="linux", config=self.run)

    def records(self) -> list[ImageRecord]:
        return [IMAGE]

    async def commit(self, config: Any, layers: Any, options: Any) -> ImageRecord:
        self.committed.append((config, layers, options))
        return IMAGE


class FakeVolumes:
    """Directories below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names: set[str] = set()
        self.mounts = VolumeMounts({}, no_work)

    async def create(self, name: str, **options: Any) -> VolumeRecord:
        anonymous = not name
        name = name or f"anonymous{len(self.names)}"
        self.names.add(name)
        path = self.root / name
        path.mkdir(exist_ok=True)
        return VolumeRecord(name=name, mountpoint=str(path), anonymous=anonymous)

    async def remove(self, name: str, **options: Any) -> None:
        self.names.discard(name)


def fake_link(number: int) -> Link:
    return Link(
        name="eth0",
        host_name=f"fake{number}",
        bridge="b",
        mac="02:42:ac:11:00:02",
        addresses=(f"172.17.0.{number}/16",),
    )


def open_engine(root: Path, launcher: FakeLauncher, networks: Any) -> Engine:
    """An engine over fakes; opening a second one on the same root is a restart of the daemon."""
    database = Database(str(root / "ketch.db"))
    volumes = FakeVolumes(root)
    config = Config(
        data_root=str(root),
        exec_root=str(root),
        cgroup_parent=f"/ketch-test-{os.getpid()}-none",
        pool_size=0,
    )
    parts = Rooms(
        database=database,
        events=Events(database),
        images=FakeImages(),  # type: ignore[arg-type]
        volumes=volumes,  # type: ignore[arg-type]
        networks=networks,
        snapshots=FakeSnapshots(),  # type: ignore[arg-type]
        launcher=launcher,  # type: ignore[arg-type]
    )
    return Engine(config, parts)
