"""The program of ``--init``: built from its source, sealed, a good parent."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ketch.runtime import init_program

SOURCE = Path(__file__).resolve().parents[2] / "packaging/init/init.c"


def test_built_from_this_source() -> None:
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    assert digest == init_program.SOURCE_DIGEST, "run scripts/build_init.py"


def test_small_static_programs_for_both_architectures() -> None:
    for machine, number in (("x86_64", 62), ("aarch64", 183)):
        program = init_program._PROGRAMS[machine]
        assert program[:4] == b"\x7fELF"
        assert int.from_bytes(program[18:20], "little") == number
        assert len(program) < 4096


def start(*args: str, **options: object) -> subprocess.Popen[bytes]:
    fd = init_program.open_init()
    env = init_program.environment({"PATH": "/usr/bin:/bin", "_": "other"}, args[0])
    try:
        return subprocess.Popen(
            init_program.command(list(args)),
            executable=f"/proc/self/fd/{fd}",
            env=env,
            pass_fds=(fd,),
            stdout=subprocess.PIPE,
            **options,  # type: ignore[call-overload]
        )
    finally:
        os.close(fd)


pytestmark = pytest.mark.skipif(
    os.uname().machine not in init_program._PROGRAMS, reason="no init for this machine"
)


def test_nobody_can_write_to_it() -> None:
    fd = init_program.open_init()
    with pytest.raises(PermissionError):
        os.write(fd, b"x")
    seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    assert seals & fcntl.F_SEAL_WRITE
    assert seals & fcntl.F_SEAL_SEAL
    os.close(fd)


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill $$", 143)]
)
def test_it_ends_as_its_program_ends(script: str, code: int) -> None:
    assert start("/bin/sh", "-c", script).wait(10) == code


def test_environment_and_arguments_reach_the_program() -> None:
    process = start("/usr/bin/env")
    assert process.communicate(timeout=10)[0] == b"PATH=/usr/bin:/bin\n"


def test_a_program_that_cannot_run() -> None:
    assert start("/nonexistent", stderr=subprocess.DEVNULL).wait(10) == 127
    assert start("/etc/passwd", stderr=subprocess.DEVNULL).wait(10) == 126


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGRTMIN])
def test_signals_are_forwarded(number: signal.Signals) -> None:
    script = (
        "import signal, os, sys\n"
        f"signal.signal({int(number)}, lambda *_: os._exit(42))\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    process = start(sys.executable, "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.wait(10) == 42


def test_orphans_are_reaped() -> None:
    """A grandchild whose parent ended becomes the init's child, and no zombie of it stays."""
    script = (
        "import os, sys, time\n"
        "init = os.getppid()\n"
        "if os.fork() == 0:\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        while os.getppid() != init: time.sleep(0.001)\n"
        "        os._exit(0)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "children = lambda: open(f'/proc/{init}/task/{init}/children').read().split()\n"
        "while len(children()) > 1: time.sleep(0.001)\n"
        "print('alone', flush=True)\n"
    )
    assert start(sys.executable, "-c", script).communicate(timeout=10)[0] == b"alone\n"
