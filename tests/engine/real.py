"""A real engine below a directory of its own: own launcher, bridge, cgroups, nft table."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import struct
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from ketch.daemon import wiring
from ketch.daemon.settings import Settings
from ketch.engine.containers.attach_options import AttachOptions
from ketch.engine.containers.list import ListOptions
from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.containers.wait import WaitCondition
from ketch.engine.engine import Engine
from ketch.engine.images.values import ImportOptions
from ketch.errors import KetchError
from ketch.runtime.remote import Launcher


def settings_below(root: Path) -> Settings:
    """Settings that touch nothing outside ``root`` but names of their own."""
    mark = uuid.uuid4().hex[:6]
    return Settings(
        data_root=str(root / "data"),
        exec_root=str(root / "run"),
        bridge=f"kt{mark}",
        bip=f"10.{200 + int(mark[:1], 16)}.{int(mark[1:3], 16)}.1/24",
        nft_table=f"ketch-test-{mark}",
        cgroup_parent=f"/ketch-test-{mark}",
        warm_pool=2,
    )


def busybox_tar() -> bytes:
    """A root file system of one program."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("bin", "etc", "tmp", "root", "data"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        tar.add("/bin/busybox", "bin/busybox")
        applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, check=True)
        for applet in applets.stdout.decode().split():
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            if applet != "busybox":
                tar.addfile(link)
        files = {
            "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nuser:x:7:7:user:/tmp:/bin/sh\n",
            "etc/group": b"root:x:0:\nuser:x:7:\n",
            "data/given": b"by the image\n",
        }
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


class Bench:
    """An engine with the image ``box``, and shorthands."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine: Engine
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        for folder in (self.settings.data_root, self.settings.exec_root):
            os.makedirs(folder, exist_ok=True)
        self.engine = await wiring.build(self.settings, self._stack)

    async def add_image(self) -> None:
        async def stream() -> AsyncIterator[bytes]:
            yield busybox_tar()

        async for _ in await _maybe(
            self.engine.images.import_(stream(), ImportOptions(reference="box"))
        ):
            pass

    async def close(self) -> None:
        """As a daemon that is told to leave: containers live on."""
        await self._stack.aclose()

    async def destroy(self) -> None:
        """Everything away, and the proof that nothing is left in the kernel."""
        engine = self.engine
        links = os.listdir(f"/sys/class/net/{self.settings.bridge}/brif")
        for record in await engine.containers.list(ListOptions(all=True)):
            try:
                await engine.containers.remove(record.id, force=True, volumes=True)
            except KetchError as error:
                print("cannot remove", record.id, error)
        await self.close()
        launcher = await Launcher.connect(self.settings.exec_root)
        pid = (await launcher.hello())["pid"]
        await launcher.shutdown()
        await wait_for_death(pid)
        await engine.networks.teardown()
        remove_cgroups(self.settings.cgroup_parent)
        await self._check_gone([self.settings.bridge, *links])

    async def _check_gone(self, links: list[str]) -> None:
        """Mounts and processes at once; network namespaces die asynchronously in the kernel."""
        root = os.path.dirname(self.settings.data_root)
        with open("/proc/self/mountinfo") as file:
            assert not [line for line in file if root in line]
        assert not processes_of(root)
        while set(links) & set(os.listdir("/sys/class/net")):
            await asyncio.sleep(0.02)

    async def run(self, *command: str, name: str = "", **asked: Any) -> tuple[int, bytes, bytes]:
        """Like ``docker run --rm``: (exit status, stdout, stderr)."""
        spec = ContainerSpec(image="box", cmd=command, auto_remove=True, **asked)
        container, _ = await self.engine.containers.create(spec, name)
        ours, theirs = socket.socketpair()
        with ours:
            options = AttachOptions(sock=theirs, stdout=True, stderr=True)
            await self.engine.containers.attach(container, options)
            waiter = await self.engine.containers.wait(container, WaitCondition.REMOVED)
            await self.engine.containers.start(container)
            said = await read_all(ours)
            result = await waiter.result()
        streams = unframed(said)
        return result.status, streams.get(1, b""), streams.get(2, b"")

    async def start(self, *command: str, name: str = "", **asked: Any) -> str:
        """Like ``docker run -d``."""
        spec = ContainerSpec(image="box", cmd=command, **asked)
        container, _ = await self.engine.containers.create(spec, name)
        await self.engine.containers.start(container)
        return container


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Bench]:
    """An engine for a while; its containers live on."""
    bench = Bench(settings)
    await bench.open()
    try:
        yield bench
    finally:
        await bench.close()


@asynccontextmanager
async def cleaned(settings: Settings) -> AsyncIterator[None]:
    """Whatever happens in the block, nothing is left of engines with these settings."""
    try:
        yield
    finally:
        bench = Bench(settings)
        await bench.open()
        await bench.destroy()


@asynccontextmanager
async def killed_daemon(code: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that runs ``code``; it does not outlive the block."""
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield daemon
    finally:
        with suppress(ProcessLookupError):
            daemon.kill()
        await daemon.wait()


async def _maybe(value: Any) -> Any:
    return await value if asyncio.iscoroutine(value) else value


async def read_all(sock: socket.socket) -> bytes:
    """Everything to the end of the stream."""
    sock.setblocking(False)
    said = b""
    while chunk := await asyncio.get_running_loop().sock_recv(sock, 1 << 16):
        said += chunk
    return said


def unframed(said: bytes) -> dict[int, bytes]:
    """Frames joined by stream."""
    streams: dict[int, bytes] = {}
    while said:
        stream, size = struct.unpack(">BxxxI", said[:8])
        streams[stream] = streams.get(stream, b"") + said[8 : 8 + size]
        said = said[8 + size :]
    return streams


async def wait_for_death(pid: int) -> None:
    """Until the process is gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, ended.set)
    await ended.wait()
    loop.remove_reader(pidfd)
    os.close(pidfd)


def processes_of(root: str) -> list[str]:
    """Processes, other than this one, whose command line names ``root``."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f"{root}/" in line and int(pid) != os.getpid():
            found.append(f"{pid} {line}")
    return found


def remove_cgroups(parent: str) -> None:
    """The parent's own directories; what is below them must have gone."""
    deadline = time.monotonic() + 10  # warm members that were let go are on their way out
    for path in Path("/sys/fs/cgroup").glob(f"*{parent}"):
        while left := [child.name for child in path.iterdir() if child.is_dir()]:
            assert time.monotonic() < deadline, f"{path}: {left}"
            time.sleep(0.01)
        path.rmdir()
