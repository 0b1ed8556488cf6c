"""Workers: results, errors, cancelling, and being shut into a container's tree."""

import asyncio
import os
from pathlib import Path

import pytest

from ketch.errors import InvalidParameter, KetchError, NotFound
from launcher.conftest import Bench

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
