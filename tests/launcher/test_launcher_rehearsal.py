"""The rehearsal of first processes: it goes through, and the process that did it is what it was."""

import subprocess
import sys
from pathlib import Path

import pytest

from ketch.runtime import rehearsal_inside
from launcher.conftest import Bench

pytestmark = pytest.mark.root

SOURCE = Path(rehearsal_inside.__file__).parents[2]
CODE = """
import os, sys
sys.path.insert(0, sys.argv[1])
from ketch.linux import links
from ketch.runtime import rehearsal_inside as inside, sandbox

def state():
    kinds = sorted(os.listdir("/proc/self/ns"))
    with open("/proc/self/status") as file:
        caps = [line for line in file if line.startswith(("Cap", "Umask"))]
    return ([os.readlink(f"/proc/self/ns/{kind}") for kind in kinds], inside._open_fds(), caps,
            os.stat("/").st_ino, os.getcwd(), os.uname().nodename)

def check(what, wanted):  # no assert: docstrings and assertions are off
    if what != wanted:
        raise SystemExit(f"{what}, not {wanted}")

sandbox.warm_up()
before = state()
with inside._Elsewhere(inside._ONCE):
    links.make_bridge(inside._BRIDGE, ())
    for number in range(3):
        inside._one_round(number, inside._start())
    check(os.uname().nodename, "ketch")
check(state(), before)
inside.rehearse()
check(state(), before)
"""


def test_every_step_is_done_and_nothing_is_left_of_it() -> None:
    command = [sys.executable, "-I", "-S", "-OO", "-c", CODE, str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    assert not [*Path("/sys/class/net").glob("outside*"), *Path("/sys/class/net").glob("inside*")]


async def test_the_launcher_is_where_it_was(bench: Bench) -> None:
    pid = (await bench.launcher.hello())["pid"]
    for kind in ("net", "uts", "ipc", "cgroup", "pid"):
        assert Path(f"/proc/{pid}/ns/{kind}").readlink() == Path(f"/proc/self/ns/{kind}").readlink()
    assert len(list(Path(f"/proc/{pid}/fd").iterdir())) < 20
