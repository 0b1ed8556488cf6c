"""Workers: results, errors, cancelling, where they come from, being shut into a tree."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from ketch.errors import InvalidParameter, KetchError, NotFound, Unavailable
from ketch.mounts import Mount, Rootfs
from launcher.conftest import Bench, wait_for_death

pytestmark = pytest.mark.root

TASKS = "ketch.testing_tasks"


async def test_result_and_fds(bench: Bench) -> None:
    read, write = os.pipe()
    os.write(write, b"hello")
    os.close(write)
    result = await bench.launcher.work(f"{TASKS}:report", {"a": [1, "ü"]}, [read])
    os.close(read)
    assert result["args"] == {"a": [1, "ü"]}
    assert result["read"] == "hello"


async def test_large_results_and_arguments(bench: Bench) -> None:
    text = "x" * 300_000
    result = await bench.launcher.work(f"{TASKS}:report", {"text": text})
    assert result["args"] == {"text": text}


async def test_errors(bench: Bench) -> None:
    with pytest.raises(InvalidParameter, match="task"):
        await bench.launcher.work("os:system", {})
    with pytest.raises(InvalidParameter, match="task"):
        await bench.launcher.work(f"{TASKS}:nothing", {})
    with pytest.raises(NotFound, match="not here"):
        await bench.launcher.work(f"{TASKS}:fail", {"kind": "not_found", "text": "not here"})
    with pytest.raises(KetchError) as caught:
        await bench.launcher.work(f"{TASKS}:fail", {"kind": "system", "errno": 28})
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == 28


async def test_cancelling_kills_the_worker(bench: Bench, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    task = asyncio.create_task(bench.launcher.work(f"{TASKS}:sleep", {"pid_file": str(pid_file)}))
    while not pid_file.exists() or not pid_file.read_text():
        await asyncio.sleep(0.005)
    pid = int(pid_file.read_text())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while Path(f"/proc/{pid}").exists():
        await asyncio.sleep(0.005)


async def test_inside_a_tree(bench: Bench) -> None:
    (bench.root / "json.py").write_text("raise SystemExit('the tree was executed')")
    rootfs = bench.rootfs("tree")
    result = await bench.launcher.work(f"{TASKS}:look", {}, rootfs=rootfs)
    assert "bin" in result["entries"]
    assert "busybox" in result["bin"]
    assert result["import"] == "ModuleNotFoundError"
    assert result["capabilities"] & (1 << 21) == 0  # CAP_SYS_ADMIN
    assert (bench.directory / "tree/upper/written").read_text() == "by the worker"
    assert result["open_fds"] <= 5


@pytest.mark.parametrize("inside", [False, True])
async def test_trees_that_are_given_come_before_other_fds(bench: Bench, inside: bool) -> None:
    read, write = os.pipe()
    os.write(write, b"said")
    os.close(write)
    for name in ("one", "two"):
        (bench.directory / name / name).mkdir(parents=True)
    trees = [Rootfs((Mount("bind", str(bench.directory / name)),)) for name in ("one", "two")]
    root = bench.rootfs("tree") if inside else None
    found = await bench.launcher.work(f"{TASKS}:trees", {}, [read], root, trees=trees)
    os.close(read)
    assert found == {"lists": [["one"], ["two"]], "last": "said"}


async def test_a_tree_is_lent(bench: Bench) -> None:
    (bench.directory / "one/inside").mkdir(parents=True)
    lent = await bench.launcher.lend(Rootfs((Mount("bind", str(bench.directory / "one")),)))
    seen = os.open(".", os.O_RDONLY, dir_fd=lent)
    assert os.listdir(seen) == ["inside"]
    os.close(seen)
    os.close(lent)
    with pytest.raises(KetchError, match="cannot mount the root"):
        await bench.launcher.lend(Rootfs((Mount("bind", str(bench.directory / "nowhere")),)))


async def test_a_launcher_that_dies_before_it_lends(bench: Bench) -> None:
    pid = (await bench.launcher.hello())["pid"]
    os.kill(pid, signal.SIGSTOP)
    lending = asyncio.create_task(bench.launcher.lend(bench.rootfs("tree")))
    for _ in range(20):  # turns of the loop, until it is asked
        await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Unavailable, match="died"):
        await lending


async def test_modules_are_imported_once(bench: Bench) -> None:
    module = "ketch.build.tasks.copy"
    first = await bench.launcher.work(f"{TASKS}:origin", {"module": module})
    with pytest.raises(InvalidParameter, match="no task"):
        await bench.launcher.work(f"{module}:nothing", {})
    second = await bench.launcher.work(f"{TASKS}:origin", {"module": module})
    assert second["nursery"] == first["nursery"]
    assert (first["loaded"], second["loaded"]) == (False, True)


async def test_a_nursery_goes_when_its_time_is_over_and_its_workers_have_ended(
    bench: Bench,
) -> None:
    read, write = os.pipe()
    running = asyncio.create_task(bench.launcher.work(f"{TASKS}:origin", {}, [read], linger=0.01))
    other = (await bench.launcher.work(f"{TASKS}:origin", {}, linger=0.01))["nursery"]
    while (await bench.launcher.work(f"{TASKS}:origin", {}, linger=0.01))["nursery"] == other:
        await asyncio.sleep(0.02)
    os.write(write, b"x")
    first = (await running)["nursery"]
    os.close(read)
    os.close(write)
    await wait_for_death(first)
    await wait_for_death(other)


async def test_a_nursery_that_is_killed_takes_its_workers_along_and_is_replaced(
    bench: Bench, tmp_path: Path
) -> None:
    first = (await bench.launcher.work(f"{TASKS}:origin", {}))["nursery"]
    pid_file = tmp_path / "pid"
    task = asyncio.create_task(bench.launcher.work(f"{TASKS}:sleep", {"pid_file": str(pid_file)}))
    while not pid_file.exists() or not pid_file.read_text():
        await asyncio.sleep(0.005)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(Unavailable, match="died"):
        await task
    await wait_for_death(int(pid_file.read_text()))
    assert (await bench.launcher.work(f"{TASKS}:origin", {}))["nursery"] != first


async def test_workers_die_with_the_launcher(bench: Bench, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    task = asyncio.create_task(bench.launcher.work(f"{TASKS}:sleep", {"pid_file": str(pid_file)}))
    while not pid_file.exists() or not pid_file.read_text():
        await asyncio.sleep(0.005)
    os.kill((await bench.launcher.hello())["pid"], signal.SIGKILL)
    with pytest.raises(Unavailable, match="died"):
        await task
    await wait_for_death(int(pid_file.read_text()))
