"""Pages that are again what they were go back; what a process has in memory stays right."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from ketch.linux import resharing

ROOT = Path(__file__).resolve().parents[2]
X86 = platform.machine() == "x86_64"

PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
from ketch.linux import resharing

kept = [bytearray(b"%d" % number * 200) for number in range(2000)]

def private():
    with open("/proc/self/smaps_rollup") as file:
        lines = file.read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))

moved = resharing.capture()
resharing.populate()  # a page that only one process maps counts as its own
again = []

def child():
    for index, item in enumerate(kept):
        old = item[0]
        item[0] = 1               # every page is written to
        if index < 1500:
            item[0] = old         # and most are as they were
    before = private()
    given = resharing.give_back()
    after = private()
    for index, item in enumerate(kept):
        want = bytearray(b"%d" % index * 200)
        if index >= 1500:
            want[0] = 1
        assert item == want, index
    again.extend(range(100000))
    assert sum(again) == 4999950000
    assert resharing.give_back() >= 0
    print(moved, given, before, after, flush=True)

pid = os.fork()
if not pid:
    try:
        child()
        os._exit(0)
    finally:
        os._exit(1)
assert os.waitpid(pid, 0)[1] == 0
assert kept[-1] == bytearray(b"1999" * 200)
"""


def run() -> list[int]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM, str(ROOT / "src")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(not X86, reason="the routines are x86-64")
def test_equal_pages_are_given_back_and_all_values_stay() -> None:
    moved, given, before, after = run()
    assert moved > 500_000
    assert given > 50
    assert after < before - 200  # KB


def test_nothing_is_done_without_a_capture() -> None:
    assert resharing.give_back() == 0
