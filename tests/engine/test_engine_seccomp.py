"""The filter in real containers: run and exec alike, privileged, unconfined, one of its own."""

from __future__ import annotations

import socket

import pytest

from engine.real import Bench, read_all, unframed
from ketch.engine.containers.attach_options import AttachOptions
from ketch.engine.containers.exec_values import ExecSpec
from ketch.errors import InvalidParameter

pytestmark = pytest.mark.root

STATE = ("grep", "-E", "^(Seccomp|Seccomp_filters|NoNewPrivs):", "/proc/self/status")
NO_MKDIR = """{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
    {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30}]}"""


async def _exec(bench: Bench, container: str, spec: ExecSpec) -> bytes:
    exec_id = await bench.engine.execs.create(container, spec)
    ours, theirs = socket.socketpair()
    with ours:
        await bench.engine.execs.start(exec_id, AttachOptions(sock=theirs, stdout=True))
        return unframed(await read_all(ours)).get(1, b"")


async def test_run_and_exec_have_the_same_filter(bench: Bench) -> None:
    _, in_run, _ = await bench.run(*STATE)
    assert b"Seccomp:\t2\nSeccomp_filters:\t1\n" in in_run
    container = await bench.start("sleep", "600")
    assert await _exec(bench, container, ExecSpec(cmd=STATE)) == in_run
    assert await _exec(bench, container, ExecSpec(cmd=STATE, privileged=True)) == in_run
    _, guarded, _ = await bench.run(*STATE, security_options=("no-new-privileges",))
    assert b"NoNewPrivs:\t1\nSeccomp:\t2\n" in guarded


async def test_the_default_refuses_namespaces_to_root_and_others(bench: Bench) -> None:
    for more in ({}, {"user": "7"}, {"security_options": ("no-new-privileges",)}):
        status, _, err = await bench.run("unshare", "-U", "true", **more)
        assert status != 0
        assert b"Operation not permitted" in err


async def test_without_a_filter(bench: Bench) -> None:
    for more in ({"privileged": True}, {"security_options": ("seccomp=unconfined",)}):
        _, out, _ = await bench.run(*STATE, **more)
        assert b"Seccomp:\t0\n" in out


async def test_a_profile_of_its_own(bench: Bench) -> None:
    status, _, err = await bench.run("mkdir", "/x", security_options=("seccomp=" + NO_MKDIR,))
    assert status == 1
    assert b"Read-only file system" in err
    with pytest.raises(InvalidParameter, match="SCMP_ACT_NONE"):
        await bench.start(
            "true", security_options=('seccomp={"defaultAction":"SCMP_ACT_NONE","syscalls":[]}',)
        )
