"""Many runs, many idle containers, bad neighbours: nothing grows, nobody waits (L1, L4, L5)."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from e2e.conftest import assert_clean, clean_up, load_busybox
from e2e.contract_world import World
from e2e.ketchd_process import Ketchd, wait_for

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def own() -> Iterator[Ketchd]:
    """A daemon that nobody else's work makes grow."""
    daemon = Ketchd(Path(tempfile.mkdtemp(prefix="ketch-long-")))
    try:
        daemon.start()
        load_busybox(daemon)
        yield daemon
        daemon.shutdown_everything()
        assert_clean(daemon)
    finally:
        clean_up(daemon)


class Facts(NamedTuple):
    """What daemon and launcher hold."""

    descriptors: int
    threads: int
    mounts: int
    memory: int  # PSS in KiB


def facts(ketchd: Ketchd) -> Facts:
    assert ketchd.process is not None
    launcher = int((ketchd.run / "launcher.pid").read_text())
    folders = [Path(f"/proc/{pid}") for pid in (ketchd.process.pid, launcher)]
    sizes = [re.search(r"^Pss: +(\d+)", (f / "smaps_rollup").read_text(), re.M) for f in folders]
    return Facts(
        sum(len(os.listdir(folder / "fd")) for folder in folders),
        sum(len(os.listdir(folder / "task")) for folder in folders),
        sum(len((folder / "mountinfo").read_text().splitlines()) for folder in folders),
        sum(int(size[1]) for size in sizes if size),
    )


def execute(world: World, container: str) -> None:
    body = {"Cmd": ["true"], "AttachStdout": True}
    made = world.must("POST", f"/containers/{container}/exec", body)["Id"]
    world.must("POST", f"/exec/{made}/start", {})


def test_runs_and_execs_leave_nothing(own: Ketchd) -> None:
    world = World(own)
    container = world.running()

    def work(runs: int, execs: int) -> None:
        for _ in range(runs):
            own.docker("run", "--rm", "busybox", "true")
        for _ in range(execs):
            execute(world, container)

    work(40, 100)
    before = facts(own)
    work(110, 400)

    def settled() -> bool:
        now = facts(own)
        return (
            now.descriptors <= before.descriptors + 3
            and now.threads <= before.threads + 1
            and now.mounts <= before.mounts + 1
        )

    wait_for(settled, f"before: {before}, after: {facts(own)}")
    assert facts(own).memory <= before.memory * 1.1
    own.docker("rm", "-f", container)


def test_two_hundred_idle_containers(own: Ketchd) -> None:
    """All start, each costs little, and the list is quick."""
    world = World(own)
    with ThreadPoolExecutor(4) as pool:
        names = list(pool.map(lambda _: world.running(Cmd=["sleep", "100000"]), range(200)))
    took = []
    for _ in range(5):
        began = time.monotonic()
        listed = world.must("GET", "/containers/json")
        took.append(time.monotonic() - began)
    assert {row["Names"][0][1:] for row in listed} >= set(names)
    assert {row["State"] for row in listed} == {"running"}
    assert min(took) < 1, took
    supervisors = [shim(world, name) for name in names[:20]]
    assert sum(supervisors) / len(supervisors) < 15 * 1024
    own.docker("rm", "-f", *names)


def shim(world: World, name: str) -> int:
    """PSS in KiB of a container's first process and its supervisor."""
    pid = world.must("GET", f"/containers/{name}/json")["State"]["Pid"]
    parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    total = 0
    for number in (pid, parent):
        text = Path(f"/proc/{number}/smaps_rollup").read_text()
        found = re.search(r"^Pss: +(\d+)", text, re.M)
        total += int(found[1]) if found else 0
    return total


def test_bad_neighbours(own: Ketchd) -> None:
    """A fork bomb within its limit and one who eats memory: the engine answers, OOM is told."""
    world = World(own)
    bomb = world.running(
        Cmd=["sh", "-c", "b() { b | b & b; }; b; sleep 600"], HostConfig={"PidsLimit": 40}
    )
    hog = world.running(
        Cmd=["tail", "/dev/zero"], HostConfig={"Memory": 16 << 20, "MemorySwap": 16 << 20}
    )
    slowest = 0.0
    for _ in range(30):
        began = time.monotonic()
        world.must("GET", "/containers/json")
        world.must("GET", f"/containers/{bomb}/json")
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 5
    assert world.must("POST", f"/containers/{hog}/wait") == {"StatusCode": 137}
    state = world.must("GET", f"/containers/{hog}/json")["State"]
    assert (state["OOMKilled"], state["ExitCode"]) == (True, 137)
    own.docker("rm", "-f", bomb, hog)
    events = own.out("events", "--since", "1", "--until", world.now(), "--format", "{{json .}}")
    told = [json.loads(line) for line in events.splitlines()]
    assert "oom" in {event["Action"] for event in told if event["Type"] == "container"}
