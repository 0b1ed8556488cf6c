"""``docker buildx debug build``: a shell where a step failed, or in what was built."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.buildx_client import Buildx
from e2e.ketchd_process import docker_path
from e2e.terminal import Terminal

pytestmark = pytest.mark.root

TEXT = """\
FROM busybox AS built
WORKDIR /w
RUN echo before >before
FROM {base}
RUN --mount=type=cache,target=/c echo what it said >during; rm before; exit 7
"""
PROGRAM = "entrypoint=sh,args=-c,args=ls /w; exec cat"
CONSOLE = b"\x01c"  # ctrl-a c, from the program to buildx's own prompt


@contextmanager
def debugging(buildx: Buildx, folder: Path, *words: str, on: str) -> Iterator[Terminal]:
    """A build that opens a program."""
    detached = ["--detach=false"] if buildx.suite == "trixie" else []
    command = [docker_path() or "docker", "buildx", "debug", f"--on={on}", *detached]
    command += ["--invoke", PROGRAM, "build", "--progress=plain", *words, str(folder)]
    terminal = Terminal(command, buildx.env(BUILDX_EXPERIMENTAL="1"))
    try:
        yield terminal
    finally:
        terminal.close()


def opened(terminal: Terminal) -> bytes:
    """What the container's first program shows; then at buildx's prompt."""
    terminal.read_to(b"to switch to the new container\n")
    terminal.say(b"hello\r")  # of which buildx may lose the first letter, while it switches
    shown = terminal.read_to(b"llo\n") + terminal.read_to(b"llo\n")
    to_prompt(terminal)
    return shown


def to_prompt(terminal: Terminal) -> None:
    terminal.say(CONSOLE)
    terminal.read_to(b"(buildx) ")


def test_where_a_step_failed(each_buildx: Buildx, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(TEXT.format(base="built"))
    with debugging(each_buildx, tmp_path, on="error") as terminal:
        assert b"during" in opened(terminal)
        assert b"exit code: 7" in terminal.text
        terminal.say(b"exec tail -f /w/during\r")  # a second program
        terminal.read_to(b"what it said\n")
        to_prompt(terminal)
        terminal.say(b"rollback --init\r")
        assert b"before" in opened(terminal)
        terminal.say(b"exit\r")
        assert terminal.ended() == 1


def test_before_a_step_that_is_no_run(buildx: Buildx, tmp_path: Path) -> None:
    """BuildKit opens its prompt there, and no container."""
    text = "FROM busybox AS one\nWORKDIR /w\nRUN >made\nFROM one\nCOPY none /\n"
    (tmp_path / "Dockerfile").write_text(text)
    with debugging(buildx, tmp_path, on="error") as terminal:
        assert b"made" in opened(terminal)
        terminal.say(b"exit\r")
        assert terminal.ended() == 1
    assert b'"/none": not found' in terminal.text


def test_in_what_was_built(each_buildx: Buildx, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(TEXT.format(base="busybox"))
    words = ("-t", "debugged", "--target", "built")
    with debugging(each_buildx, tmp_path, *words, on="always") as terminal:
        assert b"before" in opened(terminal)
        terminal.say(b"exit\r")
        assert terminal.ended() == 0
    each_buildx.docker("image", "rm", "debugged")


def test_the_debug_adapter_tells_what_failed(buildx: Buildx, tmp_path: Path) -> None:
    """``buildx dap`` crashed at a failed step that has no input."""
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN exit 7\n")
    adapter = subprocess.Popen(
        [docker_path() or "docker", "buildx", "dap", "build"],
        env=buildx.env(BUILDX_EXPERIMENTAL="1"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert adapter.stdin is not None
    assert adapter.stdout is not None
    with adapter:

        def ask(number: int, command: str, **arguments: str) -> None:
            request = {"seq": number, "type": "request", "command": command}
            body = json.dumps({**request, "arguments": arguments}).encode()
            adapter.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            adapter.stdin.flush()

        ask(1, "initialize", adapterID="test")
        ask(2, "launch", dockerfile=f"{tmp_path}/Dockerfile", contextPath=str(tmp_path))
        said = b""
        for wanted, number, command in (
            (b'"event":"initialized"', 3, "configurationDone"),
            (b'"event":"terminated"', 4, "disconnect"),
        ):
            while wanted not in said:
                more = os.read(adapter.stdout.fileno(), 1 << 16)
                assert more, adapter.stderr and adapter.stderr.read()
                said += more
            ask(number, command)
        _, told = adapter.communicate(timeout=60)
    assert b"exit code: 7" in told
    assert b"panic" not in told
    assert adapter.returncode == 1
