"""Containers that a build's client opens through the gateway, over results and failed steps."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from grpclib.exceptions import GRPCError

from buildkit.buildx import Buildx
from buildkit.driven import Driven, Ran, driven
from e2e.conftest import another
from e2e.ketchd_process import Ketchd, wait_for
from e2e.leaks import leftovers
from ketch.buildkit.messages import gateway
from ketch.llb import exec_messages as pb

pytestmark = pytest.mark.root

GOOD = "FROM busybox\nENV A=b\nRUN echo one >/f\n"
BAD = """\
FROM busybox
ENV A=b
WORKDIR /w
RUN echo before >before
RUN --mount=type=cache,id=kept,uid=7,target=/c --mount=type=bind,source=in,target=/in \\
 --mount=type=secret,id=word --mount=type=secret,id=none --mount=type=tmpfs,target=/t \\
 echo during >during; rm before; echo cached >/c/f; exit 7
"""


def client_of(ketchd: Ketchd, folder: Path, text: str) -> Buildx:
    client = Buildx(str(ketchd.socket))
    client.directories = {"context": folder, "dockerfile": folder}
    (folder / "Dockerfile").write_text(text)
    return client


def root(ref: str, **more: Any) -> pb.MountMessage:
    return pb.MountMessage(dest="/", resultID=ref, **more)


async def built(build: Driven) -> str:
    result = await build.solve()
    assert result.ref is not None
    return result.ref.id


async def test_programs_over_a_result(ketchd: Ketchd, tmp_path: Path) -> None:
    async with driven(client_of(ketchd, tmp_path, GOOD)) as build:
        ref = await built(build)
        hosts = [pb.HostIP(Host="other", IP="192.0.2.7")]
        await build.new("c", root(ref), hostname="mine", extraHosts=hosts)
        with pytest.raises(GRPCError, match="Container c already exists"):
            await build.new("c", root(ref))
        async with build.executing() as programs:
            await programs.start("first", "c", "sh", "-c", "cat; echo gone >&2; exit 3")
            await programs.write("first", b"in")
            await programs.said("first", b"in")
            second = await build.run("c", "sh", "-c", "cat /f; hostname; cat >/g", input=b"2\n")
            assert second == Ran(0, "", b"one\nmine\n", b"")
            third = await build.run(
                *("c", "sh", "-c", "cat g; pwd; id -u; echo $A$B; grep other /etc/hosts; exit 9"),
                env=["PATH=/bin", "B=c"],
                user="5",
                cwd="/",
            )
            assert third == Ran(9, "exit code: 9", b"2\n/\n5\nc\n192.0.2.7\tother\n", b"")
            missing = await build.run("c", "nowhere")
            assert (missing.code, "nowhere" in missing.error) == (127, True)
            await programs.write("first", b" and out\n", end=True)
            first = await programs.ended("first")
            assert first == Ran(3, "exit code: 3", b"in and out\n", b"gone\n")
        over = await build.run("c", "true")
        assert (over.code, over.error.partition(":")[0]) == (255, "the container has ended")
        await build.release("c")
        with pytest.raises(GRPCError, match="no container 'c'"):
            await build.release("c")
        await build.new("c", root(ref, readonly=True))  # nothing that was written stays
        again = await build.run("c", "sh", "-c", "ls /g; echo >/f", fds=[2])
        assert again.err.count(b"\n") == 2, again.err
        assert b"Read-only file system" in again.err


async def test_terminals_and_signals(ketchd: Ketchd, tmp_path: Path) -> None:
    async with driven(client_of(ketchd, tmp_path, GOOD)) as build:
        await build.new("c", root(await built(build)))
        waiting = "trap 'stty size; exit 4' USR1; echo ready; while :; do sleep 0.01; done"
        async with build.executing() as programs:
            await programs.start("init", "c", "sleep", "1000")
            for program in ("a", "b"):
                await programs.start(program, "c", "sh", "-c", waiting, tty=True)
                await programs.said(program, b"ready\r\n")
            for program, rows, told in (("a", 33, b"33 77"), ("b", 44, b"44 77")):
                await programs.resize(program, rows, 77)
                await programs.signal(program, "USR1")
                ended = await programs.ended(program)
                assert ended == Ran(4, "exit code: 4", b"ready\r\n" + told + b"\r\n", b"")
            await programs.start("keys", "c", "cat", tty=True)
            await programs.write("keys", b"\x10\x11here\n\x04")  # no detach keys
            told = b"^Phere\r\n\x10here\r\n"  # ctrl-q is the terminal's own
            assert (await programs.ended("keys")).out == told
            await programs.signal("init", "KILL")
            assert await programs.ended("init") == Ran(137, "exit code: 137", b"", b"")
        with pytest.raises(GRPCError, match="invalid signal: NONE"):
            await signalled(build, "NONE")


async def signalled(build: Driven, name: str) -> Ran:
    async with build.executing() as programs:
        await programs.start("x", "c", "sleep", "1000")
        await programs.signal("x", name)
        return await programs.ended("x")


async def test_where_a_step_failed(ketchd: Ketchd, tmp_path: Path) -> None:
    client = client_of(ketchd, tmp_path, BAD)
    client.secrets = {"word": b"secret"}
    (tmp_path / "in").write_text("from the context\n")
    async with driven(client) as build:
        with pytest.raises(GRPCError, match="exit code: 7"):
            await build.solve()
        result = await build.solve(evaluate=False)
        assert result.ref is not None
        failed = await build.failure(result.ref.id)
        assert failed["ExitMessage+json"] == {"Code": 7}
        assert failed["Source+json"]["ranges"][0]["start"] == {"line": 5}
        with pytest.raises(GRPCError, match="exit code: 7"):
            await build.graph(result.ref.definition)  # as buildx 0.13 has it evaluated
        solve = failed["Solve+json"]
        step = solve["op"]["exec"]
        assert step["meta"]["cwd"] == "/w"
        assert step["meta"]["env"][-1] == "A=b"
        assert [mount["dest"] for mount in step["mounts"]] == [
            *("/", "/c", "/in", "/run/secrets/word", "/t")
        ]
        for name, states in (("now", solve["mountIDs"]), ("before", solve["inputIDs"])):
            mounts = [
                root(states[0]),
                pb.MountMessage(
                    dest="/c", mountType=pb.CACHE, resultID=states[1],
                    cacheOpt=pb.CacheOpt(ID="kept"),
                ),
                pb.MountMessage(
                    dest="/in", resultID=states[2], selector="in", readonly=True
                ),
                pb.MountMessage(
                    dest="/s", mountType=pb.SECRET, secretOpt=pb.SecretOpt(ID="word", mode=0o400)
                ),
                pb.MountMessage(
                    dest="/n", mountType=pb.SECRET, secretOpt=pb.SecretOpt(ID="no", optional=True)
                ),
                pb.MountMessage(dest="/t", mountType=pb.TMPFS),
            ]  # fmt: skip
            await build.new(name, *mounts)
        look = (
            "ls; cat /c/f /in /s; stat -c %u /c; ls /n 2>&1; grep -c ' /t ' /proc/mounts; echo $V"
        )
        secret = [pb.SecretEnv(ID="word", name="V")]
        rest = b"cached\nfrom the context\nsecret7\nls: /n: No such file or directory\n1\nsecret\n"
        for name, there in (("now", b"during\n"), ("before", b"before\n")):
            ran = await build.run(name, "sh", "-c", look, cwd="/w", secretenv=secret)
            assert ran == Ran(0, "", there + rest, b"")


async def test_results_of_another_build(ketchd: Ketchd, tmp_path: Path) -> None:
    """buildx opens a second build when the first one is exported, and names its result there."""
    client = client_of(ketchd, tmp_path, GOOD)
    async with driven(client) as build:
        result = await build.solve()
        assert result.ref is not None
        assert await build.graph(result.ref.definition) == result.ref.id
    async with driven(client) as build:
        ref = await build.graph(result.ref.definition)
        await build.new("c", root(ref))
        assert (await build.run("c", "cat", "/f")).out == b"one\n"


FILES = """\
FROM busybox
RUN mkdir -p /d/sub && echo hello >/d/f && chmod 4755 /d/f && chown 3:4 /d/sub && mkfifo /d/p \\
 && ln -s /d /dl && ln -s f /d/l && ln -s ../../../nowhere /d/out
"""


async def test_files_of_a_result(ketchd: Ketchd, tmp_path: Path) -> None:
    """Numbers are Go's modes, as dockerd has them."""
    async with driven(client_of(ketchd, tmp_path, FILES)) as build:
        ref = await built(build)
        for path in ("/d/f", "d/l", "../../dl/f"):
            assert await build.read(ref, path) == b"hello\n"
        assert await build.read(ref, "/d/f", gateway.FileRange(Offset=1, Length=2)) == b"el"
        entries = await build.list(ref, "/dl")
        assert [(one.path, one.mode, one.linkname) for one in entries] == [
            ("f", 1 << 23 | 0o755, ""),
            ("l", 1 << 27 | 0o777, "f"),
            ("out", 1 << 27 | 0o777, "../../../nowhere"),
            ("p", 1 << 25 | 0o644, ""),
            ("sub", 1 << 31 | 0o755, ""),
        ]
        assert (entries[0].size, entries[4].uid, entries[4].gid) == (6, 3, 4)
        assert [one.path for one in await build.list(ref, "", "d*")] == ["d", "dl"]
        stat = await build.call(
            "StatFile", gateway.StatFileRequest(Ref=ref, Path="/d/sub"), gateway.StatFileResponse
        )
        assert stat.stat == entries[4]
        for path, told in (
            ("/none", "/none: no such file"), ("/d/out", "/d/out: no such file"),
            ("/d", "/d is not a regular file"), ("/d/p", "/d/p is not a regular file"),
        ):  # fmt: skip
            with pytest.raises(GRPCError, match=told):
                await build.read(ref, path)
        for path, pattern, told in (
            ("/d/f", "", "/d/f: not a directory"), ("/no", "", "/no: no such file"),
            ("/d", "[", "the pattern '\\['"),
        ):  # fmt: skip
            with pytest.raises(GRPCError, match=told):
                await build.list(ref, path, pattern)
        with pytest.raises(GRPCError, match="the build has no result 'x'"):
            await build.list("x", "/")


async def test_what_is_refused(ketchd: Ketchd, tmp_path: Path) -> None:
    async with driven(client_of(ketchd, tmp_path, GOOD)) as build:
        top = root(await built(build))
        secret = pb.MountMessage(dest="/s", mountType=1, secretOpt=pb.SecretOpt(ID="no"))
        agent = pb.MountMessage(dest="/s", mountType=2, sshOpt=pb.SSHOpt(ID="no"))
        cases: list[tuple[str, list[pb.MountMessage], dict[str, Any]]] = [
            ("one mount at /, not 0", [], {}),
            ("one mount at /, not 2", [top, top], {}),
            ("the build has no result 'x'", [root("x")], {}),
            ("names no result", [root("")], {}),
            ("invalid mount type TMPFS for /", [root("", mountType=pb.TMPFS)], {}),
            ("no absolute path", [top, pb.MountMessage(dest="x", mountType=pb.TMPFS)], {}),
            ("unknown type of the mount", [top, pb.MountMessage(dest="/x", mountType=9)], {}),
            ("the cache at /x has no ID", [top, pb.MountMessage(dest="/x", mountType=3)], {}),
            ("secret no: not found", [top, secret], {}),
            ("ssh no: not found", [top, agent], {}),
            ("network.host is not allowed", [top], {"Network": pb.HOST_NETWORK}),
            ("unknown network: 9", [top], {"Network": 9}),
        ]
        for told, mounts, more in cases:
            with pytest.raises(GRPCError, match=told):
                await build.new("bad", *mounts, **more)
        await build.new("c", top)
        programs: list[tuple[str, list[str], dict[str, Any]]] = [
            ("no program is named", [], {}),
            ("no NUL bytes", ["a\0b"], {}),
            ("security.insecure is not allowed", ["true"], {"security": pb.INSECURE}),
            ("file descriptors [3]", ["true"], {"fds": [3]}),
            ("hostname of a program", ["true"], {"hostname": "x"}),
            ("secret no: not found", ["true"], {"secretenv": [pb.SecretEnv(ID="no", name="V")]}),
        ]
        for told, words, more in programs:
            ran = await build.run("c", *words, **more)
            assert (ran.code, told in ran.error) == (255, True), ran
        assert (await build.run("nowhere", "true")).error == "the build has no container 'nowhere'"
        assert (await build.run("c", "true")).code == 0  # none of it has harmed it


class Gone(Exception):
    """The client has left in the middle."""


async def test_nothing_stays(ketchd: Ketchd, tmp_path: Path) -> None:
    """After a client that goes, a daemon that leaves, a daemon that is killed."""
    with another(ketchd) as daemon:
        client = client_of(daemon, tmp_path, BAD)
        client.secrets = {"word": b"secret"}
        (tmp_path / "in").touch()
        with pytest.raises(Gone):
            await left(client, lambda: None)
        await asyncio.to_thread(wait_for, lambda: not sleeping(), "its programs are there still")
        with pytest.raises(Gone):
            await left(client, lambda: None)
        daemon.stop()  # while the build is taken back
        assert "snapshots" not in leftovers(daemon)
        await asyncio.to_thread(daemon.start)
        with pytest.raises(Gone):
            await left(client, lambda: daemon.stop(signal.SIGKILL))
        await asyncio.to_thread(daemon.start)
        await asyncio.to_thread(wait_for, lambda: not sleeping(), "its programs are there still")


async def left(client: Buildx, then: Callable[[], object]) -> None:
    async with driven(client) as build:
        await open_two(build)
        assert len(sleeping()) >= 2
        await asyncio.to_thread(then)
        raise Gone


async def open_two(build: Driven) -> None:
    result = await build.solve(evaluate=False)
    assert result.ref is not None
    solve = (await build.failure(result.ref.id))["Solve+json"]
    await build.new("c", root(solve["mountIDs"][0]))
    await build.new("unused", root(solve["inputIDs"][0]))
    programs = await build.stack.enter_async_context(build.executing())
    for name in ("init", "other"):
        await programs.start(name, "c", "sh", "-c", "echo up; sleep 987654; true")
        await programs.said(name, b"up")


def sleeping() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and b"987654" in (entry / "cmdline").read_bytes():
                found.append(entry.name)
    return found
