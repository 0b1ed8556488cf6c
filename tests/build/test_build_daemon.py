"""Builds through the real daemon and the docker CLI: limits, clients that leave, kill -9."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import clean_up, load_busybox
from e2e.ketchd_process import BUSYBOX, Ketchd, docker_path, wait_for
from e2e.unix_http import UnixConnection
from ketch.cli.tar_entries import END, of_bytes

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(docker_path() is None, reason="needs the docker CLI"),
    pytest.mark.skipif(not os.access(BUSYBOX, os.X_OK), reason="needs busybox-static"),
]
SECONDS = "91827"


@pytest.fixture(scope="module")
def ketchd() -> Iterator[Ketchd]:
    daemon = Ketchd(Path(tempfile.mkdtemp(prefix="ketch-build-")))
    try:
        daemon.start()
        load_busybox(daemon)
        yield daemon
        daemon.shutdown_everything()
    finally:
        clean_up(daemon)


def dockerfile(folder: Path, text: str) -> str:
    (folder / "Dockerfile").write_text(text)
    return str(folder)


def sleepers() -> list[str]:
    """PIDs of the step's process."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and (path / "cmdline").read_bytes() == (
                f"sleep\0{SECONDS}\0".encode()
            ):
                found.append(path.name)
        except OSError:
            continue
    return found


def nothing_left(daemon: Ketchd) -> bool:
    folders = (daemon.data / "snapshots", daemon.run / "shims")
    names = [name for folder in folders for name in os.listdir(folder)]
    return not sleepers() and not names and not daemon.unfinished()


@pytest.fixture
def building(ketchd: Ketchd, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The CLI, in the middle of a RUN step."""
    folder = dockerfile(tmp_path, f"FROM busybox\nRUN echo begin; sleep {SECONDS}\n")
    client = subprocess.Popen(
        [docker_path() or "docker", "build", "--no-cache", folder],
        env=ketchd.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert client.stdout is not None
    try:
        assert any(line == b"begin\n" for line in iter(client.stdout.readline, b""))
        wait_for(lambda: len(sleepers()) == 1, "the step does not run")
        yield client
    finally:
        client.kill()
        client.wait()
        client.stdout.close()


def test_a_client_that_leaves_ends_its_build(
    ketchd: Ketchd, building: subprocess.Popen[bytes]
) -> None:
    building.kill()
    wait_for(lambda: nothing_left(ketchd), "the build went on")


def test_a_daemon_killed_in_a_step_leaves_nothing(
    ketchd: Ketchd, building: subprocess.Popen[bytes]
) -> None:
    ketchd.stop(signal.SIGKILL)
    ketchd.start()
    wait_for(lambda: nothing_left(ketchd), "the step survived")


@pytest.mark.parametrize("lines", [0, 4])
def test_a_daemon_killed_while_it_takes_a_context_that_came_before(
    ketchd: Ketchd, lines: int
) -> None:
    """What is known of small contexts is in memory only: the next daemon has to read them again."""
    text = f"FROM busybox\nCOPY a /a\nRUN cat /a; echo {lines} > /b\nRUN cat /a /b\n"
    archive = b"".join(
        [*of_bytes("Dockerfile", text.encode()), *of_bytes("a", b"of round %d\n" % lines), END]
    )

    def asked(words: str) -> Iterator[bytes]:
        connection = UnixConnection(str(ketchd.socket))
        try:
            connection.request("POST", f"/build?progress=events{words}", archive)
            yield b""  # it was sent
            yield from connection.getresponse()
        except (OSError, http.client.HTTPException):
            return  # the daemon is gone
        finally:
            connection.close()

    first = json.loads(list(asked(""))[-1])
    build = asked("&nocache=1")
    for _ in range(lines + 1):
        next(build, None)
    ketchd.stop(signal.SIGKILL)
    build.close()
    ketchd.start()
    again = list(asked(""))
    assert json.loads(again[-1])["image"], again
    whole = b"".join(asked("&nocache=1"))
    assert whole.count(b"of round %d\\n" % lines) == 2
    assert first["type"] == "built"
    wait_for(lambda: nothing_left(ketchd), "the build left something")


def test_a_daemon_that_is_stopped_ends_its_builds_and_says_so(
    ketchd: Ketchd, building: subprocess.Popen[bytes]
) -> None:
    """They ended after its database was closed, with tracebacks in its log."""
    before = len(ketchd.log.read_text())
    ketchd.stop(signal.SIGTERM)
    assert building.stdout is not None
    assert b"because the engine is being stopped" in building.stdout.read()
    assert "level=error" not in ketchd.log.read_text()[before:]
    ketchd.start()
    assert nothing_left(ketchd)


def test_a_step_goes_on_for_another_client(
    ketchd: Ketchd, building: subprocess.Popen[bytes]
) -> None:
    """It was killed with the build that began it, and begun anew."""
    (step,) = sleepers()
    other = subprocess.Popen(
        [docker_path() or "docker", "build", str(building.args[-1])],  # type: ignore[index]
        env=ketchd.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with other:
        assert other.stdout is not None
        assert any(line.startswith(b"Step 2/2") for line in iter(other.stdout.readline, b""))
        building.kill()
        building.wait()
        ketchd.docker("version")  # the daemon has seen the client go
        assert sleepers() == [step]
        other.kill()
    wait_for(lambda: nothing_left(ketchd), "the build went on for nobody")


def test_memory_limit(ketchd: Ketchd, tmp_path: Path) -> None:
    files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
    text = f"FROM busybox\nRUN cat {files} 2> /dev/null || true\n"
    done = ketchd.docker("build", "-m", "64m", dockerfile(tmp_path, text))
    assert b"\n67108864\n" in done.stdout


def test_networks(ketchd: Ketchd, tmp_path: Path) -> None:
    folder = dockerfile(tmp_path, "FROM busybox\nRUN ip -o addr\n")
    bridge = ketchd.docker("build", folder).stdout
    none = ketchd.docker("build", "--no-cache", "--network", "none", folder).stdout
    host = ketchd.docker("build", "--no-cache", "--network", "host", folder).stdout
    assert b"eth0" in bridge
    assert b"eth0" not in none
    assert ketchd.bridge.encode() in host


def test_history_and_tags(ketchd: Ketchd, tmp_path: Path) -> None:
    folder = dockerfile(tmp_path, "FROM busybox\nENV a=b\nRUN touch /x\n")
    ketchd.docker("build", "-t", "built:1", "-t", "built:2", folder)
    history = ketchd.docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", "built:2")
    assert history.stdout.decode().splitlines()[:2] == [
        "/bin/sh -c touch /x",
        "/bin/sh -c #(nop)  ENV a=b",
    ]
    ids = {ketchd.docker("images", "-q", f"built:{n}").stdout for n in (1, 2)}
    assert len(ids) == 1
