"""The journald driver against a real journal, in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ketch.logs import journald
from ketch.logs.cached import CachedLog
from ketch.logs.localfile import LocalLog
from ketch.logs.reader import read

pytestmark = pytest.mark.root

DAEMON = "/lib/systemd/systemd-journald"
START = (
    "for each in systemd log; do mkdir -p /run/$each && mount -t tmpfs tmpfs /run/$each; done; "
    f"mkdir -p /run/systemd/journal /run/log/journal; exec {DAEMON}"
)


@pytest.fixture
def journal() -> Iterator[Path]:
    """The root of the namespace in which the journal runs."""
    if not os.access(DAEMON, os.X_OK) or not shutil.which("journalctl"):
        pytest.skip("needs systemd-journald")
    daemon = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", START],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    root = Path(f"/proc/{daemon.pid}/root")
    try:
        deadline = time.monotonic() + 20
        while not (root / journald.SOCKET[1:]).exists() or b"journal" not in _name(daemon.pid):
            assert daemon.poll() is None, "the journal ended"
            assert time.monotonic() < deadline, "the journal did not begin"
            time.sleep(0.05)
        yield root
    finally:
        daemon.terminate()
        daemon.wait(10)


def _name(pid: int) -> bytes:
    return Path(f"/proc/{pid}/comm").read_bytes()


def entries(root: Path, count: int) -> list[dict[str, Any]]:
    """What the journal holds of our container, once it is that much."""
    command = [
        "journalctl",
        "-D",
        str(root / "run/log/journal"),
        "-o",
        "json",
        "CONTAINER_NAME=web",
    ]
    deadline = time.monotonic() + 20
    while True:
        done = subprocess.run(command, capture_output=True, check=False)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        if len(found) >= count or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def test_entries_and_their_copy(journal: Path, tmp_path: Path) -> None:
    fields = {"CONTAINER_NAME": "web", "CONTAINER_ID": "0123", "TEAM": "a"}
    socket = f"{journal}{journald.SOCKET}"
    log = CachedLog(
        journald.JournaldLog({"socket": socket, "fields": fields}), LocalLog(str(tmp_path / "x"))
    )
    log.clock.instant = 1_800_000_000_000_000_001
    log.write("stdout", b"one\ntwo\n")
    log.write("stderr", b"three\n")
    log.write("stdout", b"x" * 20_000 + b"\n")
    log.close()
    found = entries(journal, 5)
    assert [each["MESSAGE"] for each in found[:3]] == ["one", "two", "three"]
    assert [each["PRIORITY"] for each in found[:3]] == ["6", "6", "3"]
    assert all(each["TEAM"] == "a" and each["CONTAINER_ID"] == "0123" for each in found)
    assert found[0]["SYSLOG_TIMESTAMP"] == "2027-01-15T08:00:00.000000001Z"
    assert [each.get("CONTAINER_PARTIAL_MESSAGE") for each in found[3:]] == ["true", None]
    copy = [entry for batch in read(str(tmp_path / "x"), driver="local") for entry in batch]
    assert b"".join(e.data for e in copy) == b"one\ntwo\nthree\n" + b"x" * 20_000 + b"\n"
    assert {(e.stream, e.time) for e in copy} == {
        ("stdout", log.clock.instant),
        ("stderr", log.clock.instant),
    }
