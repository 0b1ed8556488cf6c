"""Fixtures: a launcher of one's own, with a busybox root, cgroups and sockets of one's own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import struct
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ketch.errors import KetchError
from ketch.mounts import Mount, Rootfs
from ketch.runtime.defaults import default_spec
from ketch.runtime.messages import Attach, Exec, Start, Warm
from ketch.runtime.remote import Launcher, Shim

ENTRY = Path(os.environ.get("KETCH_TEST_LAUNCHER", Path(__file__).with_name("launcher_entry.py")))


class Client:
    """An attached client: one end of a socket pair whose other end the shim has."""

    def __init__(self, **options: Any) -> None:
        self.sock, self.theirs = socket.socketpair()
        self.sock.setblocking(False)
        self.attach: Attach = {
            "stdin": False,
            "stdout": True,
            "stderr": True,
            "framed": True,
            "detach_keys": [16, 17],
            "input": "",
            **options,  # type: ignore[typeddict-item]
        }
        self.received = b""

    @property
    def pair(self) -> tuple[socket.socket, Attach]:
        return self.theirs, self.attach

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    def end_input(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    async def read_to_end(self) -> bytes:
        """Everything until the shim closes."""
        self.theirs.close()
        while chunk := await asyncio.get_running_loop().sock_recv(self.sock, 1 << 18):
            self.received += chunk
        return self.received

    async def read_until(self, text: bytes) -> bytes:
        self.theirs.close()
        while text not in self.received:
            chunk = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 16)
            assert chunk, f"ended without {text!r}: {self.received!r}"
            self.received += chunk
        return self.received

    async def streams(self) -> dict[int, bytes]:
        """The frames until the end, joined by stream."""
        return unframe(await self.read_to_end())

    def close(self) -> None:
        self.sock.close()
        self.theirs.close()


def unframe(data: bytes) -> dict[int, bytes]:
    streams: dict[int, bytes] = {}
    while data:
        stream, size = struct.unpack(">BxxxI", data[:8])
        assert len(data) >= 8 + size, "a frame is cut off"
        streams[stream] = streams.get(stream, b"") + data[8 : 8 + size]
        data = data[8 + size :]
    return streams


class Bench:
    """A launcher and what it takes to start containers with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.exec_root = directory / "run"
        self.parent = f"/ketch-test-{uuid.uuid4().hex[:8]}"
        self.root = directory / "root"
        self.shims: list[Shim] = []
        self.clients: list[Client] = []
        self.launcher: Launcher

    async def open(self) -> None:
        for name in ("bin", "proc", "sys", "dev", "etc", "tmp"):
            (self.root / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", self.root / "bin/busybox")
        (self.root / "bin/sh").symlink_to("busybox")
        (self.root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        self.launcher = await Launcher.ensure(self.exec_root, ENTRY)

    async def close(self) -> None:
        for client in self.clients:
            client.close()
        for shim in self.shims:
            await self._end(shim)
        launcher = await Launcher.ensure(self.exec_root, ENTRY)
        pid = (await launcher.hello())["pid"]
        await launcher.shutdown()
        await wait_for_death(pid)
        self._remove_cgroups()

    async def _end(self, shim: Shim) -> None:
        try:
            await shim.signal(signal.SIGKILL)
            await shim.exited()
        except KetchError:
            pass
        await shim.reap()
        await shim.gone()

    def _remove_cgroups(self) -> None:
        for path in Path("/sys/fs/cgroup").glob(f"*{self.parent}"):
            assert not [child for child in path.iterdir() if child.is_dir()], path
            path.rmdir()

    def client(self, **options: Any) -> Client:
        client = Client(**options)
        self.clients.append(client)
        return client

    def rootfs(self, name: str) -> Rootfs:
        upper, work = self.directory / name / "upper", self.directory / name / "work"
        upper.mkdir(parents=True, exist_ok=True)
        work.mkdir(exist_ok=True)
        return Rootfs((Mount("bind", str(self.root)),), str(upper), str(work))

    def bundle(self, name: str) -> Path:
        bundle = self.directory / name
        bundle.mkdir(exist_ok=True)
        return bundle

    def log(self, name: str) -> Path:
        return self.bundle(name) / f"{name}-json.log"

    def namespaces(self) -> list[dict[str, str]]:
        kinds = ("pid", "network", "ipc", "uts", "mount", "cgroup")
        return [{"type": kind} for kind in kinds]

    def start(self, *script: str, **options: Any) -> Start:
        """A START that runs a shell script, or the arguments given."""
        name = options.pop("id", None) or uuid.uuid4().hex
        args = ["/bin/busybox", "sh", "-c", *script] if len(script) == 1 else list(script)
        spec = default_spec()
        spec["process"].update(args=args, terminal=options.get("terminal", False))
        spec["linux"]["namespaces"] = self.namespaces()
        start: Start = {
            "id": name,
            "bundle": str(self.bundle(name)),
            "spec": spec,
            "rootfs": self.rootfs(name).to_wire(),
            "warm": None,
            "link": None,
            "cgroup": {"parent": self.parent, "name": name},
            "user": "",
            "groups_add": [],
            "make_cwd": False,
            "seccomp": "",
            "stdin": False,
            "stdin_once": False,
            "durable": True,
            "terminal": False,
            "console": [0, 0],
            "log": {
                "driver": "json-file",
                "path": str(self.log(name)),
                "max_size": 0,
                "max_file": 1,
                "attrs": {},
            },
            "socket": str(self.exec_root / "shims" / f"{name}.sock"),
        }
        start.update(options)  # type: ignore[typeddict-item]
        return start

    def warm(self, name: str) -> Warm:
        cgroup = {"parent": self.parent, "name": name}
        return {"id": name, "cgroup": cgroup, "link": None, "namespaces": self.namespaces()}  # type: ignore[typeddict-item]

    def exec(self, start: Start, pid: int, *script: str, **options: Any) -> Exec:
        name = uuid.uuid4().hex
        args = ["/bin/busybox", "sh", "-c", *script] if len(script) == 1 else list(script)
        job: Exec = {
            "id": name,
            "container": start["id"],
            "bundle": start["bundle"],
            "init_pid": pid,
            "process": {**start["spec"]["process"], "args": args},
            "user": "",
            "groups_add": [],
            "seccomp": "",
            "stdin": False,
            "terminal": False,
            "console": [0, 0],
            "socket": str(self.exec_root / "shims" / f"{name}.sock"),
        }
        job.update(options)  # type: ignore[typeddict-item]
        job["process"]["terminal"] = job["terminal"]
        return job

    async def run(self, start: Start, *clients: Client) -> Shim:
        """Start and await that it runs."""
        shim = await self.launcher.start(start, [client.pair for client in clients])
        self.shims.append(shim)
        await shim.started()
        for client in clients:
            client.theirs.close()
        return shim

    def count_shim_sockets(self) -> int:
        return len(list((self.exec_root / "shims").iterdir()))


async def wait_for_death(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(pidfd, ended.set)
    await ended.wait()
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    async with asyncio.timeout(40):
        await bench.open()
        try:
            yield bench
        finally:
            await bench.close()
