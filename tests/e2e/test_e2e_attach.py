"""Attach in all its ways: WebSocket, logs, several clients, stalled clients, stopped containers."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import pytest

from e2e.ketchd_process import Ketchd, docker_path, wait_for
from e2e.unix_http import UnixConnection

pytestmark = pytest.mark.root


@contextmanager
def raw_attach(ketchd: Ketchd, name: str, query: str) -> Iterator[socket.socket]:
    """A hijacked connection; the head of the answer is read."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(ketchd.socket))
        path = f"/v1.50/containers/{name}/attach?{query}"
        sock.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        assert head.startswith(b"HTTP/1.1 101 UPGRADED"), head
        yield sock


def payloads(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while data:
        stream, length = struct.unpack(">BxxxI", data[:8])
        found[stream] = found.get(stream, b"") + data[8 : 8 + length]
        data = data[8 + length :]
    return found


def everything(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


async def talk(ketchd: Ketchd, path: str, *messages: str | bytes) -> bytes:
    """Send messages over a WebSocket, then take what comes until the other side ends it."""
    connector = aiohttp.UnixConnector(path=str(ketchd.socket))
    received = b""
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        asyncio.timeout(60),
        session.ws_connect(f"http://x{path}") as ws,
    ):
        for message in messages:
            await (ws.send_str(message) if isinstance(message, str) else ws.send_bytes(message))
        async for message_in in ws:
            assert message_in.type is aiohttp.WSMsgType.BINARY
            received += message_in.data
    return received


async def test_websocket(ketchd: Ketchd, name: str) -> None:
    script = "read a; echo got $a; read b; echo got $b >&2; exit 5"
    ketchd.docker("run", "-di", "--name", name, "busybox", "sh", "-c", f"echo first; {script}")
    wait_for(lambda: "first" in ketchd.out("logs", name), "it did not start")
    path = f"/v1.50/containers/{name}/attach/ws?logs=1&stream=1&stdin=1&stdout=1&stderr=1"
    received = await talk(ketchd, path, "text\n", b"binary\n")
    assert received.startswith(b"first\n")
    assert sorted(received.splitlines()) == [b"first", b"got binary", b"got text"]
    assert ketchd.out("wait", name) == "5"


async def test_websocket_detach_keys_and_refusals(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-dit", "--name", name, "busybox", "cat")
    path = f"/v1.50/containers/{name}/attach/ws?stream=1&stdin=1&stdout=1&detachKeys=ctrl-a,x"
    connector = aiohttp.UnixConnector(path=str(ketchd.socket))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        asyncio.timeout(60),
        session.ws_connect(f"http://x{path}") as ws,
    ):
        await ws.send_str("hello\r")
        assert (await ws.receive_bytes()).startswith(b"hello")
        await ws.send_bytes(b"\x01x")
        async for _ in ws:
            pass  # the rest of the echo, then the end
    assert ketchd.out("inspect", "-f", "{{.State.Running}}", name) == "true"
    connector = aiohttp.UnixConnector(path=str(ketchd.socket))
    async with aiohttp.ClientSession(connector=connector) as session:
        for bad, status in (
            (f"/v1.50/containers/{name}/attach/ws", 400),
            (f"/v1.50/containers/{name}/attach/ws?detachKeys=zz-", 400),
            ("/v1.50/containers/nobody/attach/ws", 404),
        ):
            headers = {"Connection": "Upgrade", "Upgrade": "websocket"} if "?" in bad else {}
            if status == 404:
                headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
            async with session.get(f"http://x{bad}", headers=headers) as answer:
                assert answer.status == status, await answer.text()


def test_logs_and_stream_to_several_clients(ketchd: Ketchd, name: str) -> None:
    ketchd.docker(
        "run", "-di", "--name", name, "busybox", "sh", "-c",
        "echo before; echo err >&2; read x; echo after $x",
    )  # fmt: skip
    wait_for(lambda: "before" in ketchd.out("logs", name), "it did not start")
    query = "logs=1&stream=1&stdout=1&stderr=1"
    with (
        raw_attach(ketchd, name, query) as one,
        raw_attach(ketchd, name, "stream=1&stderr=1") as errors,
        raw_attach(ketchd, name, f"{query}&stdin=1") as typist,
    ):
        typist.sendall(b"typed\n")
        expected = {1: b"before\nafter typed\n", 2: b"err\n"}
        assert payloads(everything(one)) == expected
        assert payloads(everything(typist)) == expected
        assert payloads(everything(errors)) == {}


def test_a_stopped_container(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "--name", name, "busybox", "echo", "said")
    done = ketchd.docker("attach", name, code=1)
    assert "cannot attach to a stopped container" in done.stderr.decode()
    with raw_attach(ketchd, name, "logs=1&stdout=1") as sock:
        assert payloads(everything(sock)) == {1: b"said\n"}
    with raw_attach(ketchd, name, "stream=1&stdout=1") as sock:
        ketchd.docker("start", name)
        assert payloads(everything(sock)) == {1: b"said\n"}


def test_bad_detach_keys(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-di", "--name", name, "busybox", "cat")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(ketchd.socket))
        path = f"/v1.50/containers/{name}/attach?stream=1&detachKeys=zz-"
        sock.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = everything(sock)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Invalid escape keys (zz-) provided" in answer


def test_stalled_readers_slow_nobody(ketchd: Ketchd, name: str) -> None:
    """Scorecard L2, bounded: 20 readers each of attach, logs -f and events take nothing."""
    assert ketchd.process is not None
    script = "read x; yes 0123456789012345678901234567890123456789 | head -c 60000000; echo done"
    ketchd.docker("run", "-di", "--name", name, "busybox", "sh", "-c", f"{script}; read y")

    def resident() -> int:
        with open(f"/proc/{ketchd.process.pid}/status") as status:  # type: ignore[union-attr]
            return int(re.findall(r"VmRSS:\s+(\d+)", status.read())[0])

    before = resident()
    idle = []
    try:
        for path in (f"containers/{name}/logs?follow=1&stdout=1", "events?since=1"):
            for _ in range(20):
                sock = socket.socket(socket.AF_UNIX)
                idle.append(sock)
                sock.connect(str(ketchd.socket))
                sock.sendall(f"GET /v1.50/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with raw_attach(ketchd, name, "stream=1&stdin=1") as typist:
            for _ in range(20):
                sock = socket.socket(socket.AF_UNIX)
                idle.append(sock)
                sock.connect(str(ketchd.socket))
                path = f"/v1.50/containers/{name}/attach?stream=1&stdout=1"
                sock.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\n\r\n".encode())
            typist.sendall(b"\n")
            wait_for(
                lambda: ketchd.out("logs", "--tail", "1", name)[-4:] == "done", "it was held", 60
            )
        assert resident() - before < 64 * 1024
    finally:
        for sock in idle:
            sock.close()


def test_follow_goes_on_through_restarts_and_ends_with_the_container(
    ketchd: Ketchd, name: str
) -> None:
    ketchd.docker(
        "run", "-d", "--name", name, "--restart", "on-failure:2", "--log-opt", "max-size=1k",
        "--log-opt", "max-file=5", "busybox", "sh", "-c",
        "i=0; while [ $i -lt 10 ]; do echo line $i; i=$((i+1)); done; exit 1",
    )  # fmt: skip
    done = ketchd.docker("logs", "-f", name, timeout=120)
    assert done.stdout.decode().split("\n")[:-1] == [f"line {n}" for n in range(10)] * 3


def test_selections_together(ketchd: Ketchd, name: str) -> None:
    ketchd.docker(
        "run", "--name", name, "-l", "a=b", "--log-opt", "labels=a", "busybox", "sh", "-c",
        "for i in 1 2 3 4 5 6; do echo $i; usleep 20000; done; echo err >&2",
    )  # fmt: skip
    stamped = ketchd.out("logs", "-t", name).splitlines()
    times = [line.split()[0] for line in stamped]
    assert len(times) == 6
    assert times == sorted(times)
    picked = ketchd.out("logs", "--since", times[1], "--until", times[4], name).split()
    assert picked == ["2", "3", "4", "5"]
    picked = ketchd.out("logs", "--since", times[1], "--tail", "4", "--details", name).splitlines()
    assert picked == ["a=b 4", "a=b 5", "a=b 6"]
    done = ketchd.docker("logs", "--tail", "1", name)
    assert (done.stdout, done.stderr) == (b"", b"err\n")
    assert ketchd.out("logs", "--tail", "0", name) == ""
    assert ketchd.out("logs", "--since", "2099-01-01T00:00:00Z", name) == ""


def test_stats_of_block_devices(ketchd: Ketchd, name: str) -> None:
    script = "dd if=/dev/zero of=/f bs=1M count=4 conv=fsync; sleep 600"
    ketchd.docker("run", "-d", "--name", name, "busybox", "sh", "-c", script)

    def written() -> bool:
        shown = ketchd.out("stats", "--no-stream", "--format", "{{.BlockIO}}", name)
        return shown.split(" / ")[1] in ("4.19MB", "4.2MB", "4.21MB", "4.22MB")

    wait_for(written, "what was written never showed")
    path = f"/v1.41/containers/{name}/stats?stream=0&one-shot=1"
    connection = UnixConnection(str(ketchd.socket))
    connection.request("GET", path)
    found = json.loads(connection.getresponse().read())["blkio_stats"]
    connection.close()
    on_v1 = ketchd.out("info", "-f", "{{.CgroupVersion}}") == "1"
    ops = {entry["op"] for entry in found["io_service_bytes_recursive"]}
    assert {"Read", "Write"} <= ops if on_v1 else ops == {"read", "write"}
    assert found["io_queue_recursive"] == ([] if on_v1 else None)


def test_stats_of_many_kinds(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "-m", "64m", "busybox", "sleep", "600")
    table = ketchd.out("stats", "--no-stream", "--format", "{{json .}}", name)
    row = json.loads(table)
    assert row["Name"] == name
    assert row["MemUsage"].endswith("/ 64MiB")
    assert row["PIDs"] == "1"
    stream = subprocess.Popen(
        [docker_path() or "docker", "stats", "--format", "{{.Name}} {{.PIDs}}", name],
        env=ketchd.env(),
        stdout=subprocess.PIPE,
    )
    try:
        assert stream.stdout is not None
        found = b""
        deadline = time.monotonic() + 20
        while found.count(f"{name} 1".encode()) < 2 and time.monotonic() < deadline:
            found += stream.stdout.readline()
        assert found.count(f"{name} 1".encode()) >= 2
    finally:
        stream.kill()
        stream.wait()
        if stream.stdout is not None:
            stream.stdout.close()
    ketchd.docker("stop", "-t", "0", name)
    row = json.loads(ketchd.out("stats", "--no-stream", "--format", "{{json .}}", name))
    assert row["PIDs"] == "0"
