"""Namespaces of the host and of others, user namespaces, and who dies with whom."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from sandbox_runner import Runner, within

from ketch.errors import InvalidParameter, StartFailed, Unsupported
from ketch.linux.process import pidfd_open
from ketch.runtime import sandbox

pytestmark = pytest.mark.root

READ = "for n in /proc/self/ns/*; do echo $n $(readlink $n); done"


def _without(runner: Runner, *kinds: str, script: str = READ) -> dict[str, Any]:
    spec = runner.spec(["/bin/sh", "-c", script])
    linux = spec["linux"]
    linux["namespaces"] = [one for one in linux["namespaces"] if one["type"] not in kinds]
    if "network" in kinds:
        linux["sysctl"] = {}
    if "uts" in kinds:
        spec["hostname"] = ""
    return spec


def _links(text: str) -> dict[str, str]:
    pairs = (line.split() for line in text.splitlines())
    return {os.path.basename(name): link for name, link in pairs}


@pytest.mark.parametrize(
    ("kind", "file"),
    [("network", "net"), ("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup"),
     ("time", "time")],
)  # fmt: skip
def test_namespace_of_the_host(runner: Runner, kind: str, file: str) -> None:
    found = _links(runner.run(runner.start(_without(runner, kind))).out)
    assert found[file] == os.readlink(f"/proc/self/ns/{file}")
    for other in {"net", "pid", "ipc", "uts", "mnt"} - {file}:
        assert found[other] != os.readlink(f"/proc/self/ns/{other}"), other


@pytest.mark.parametrize(
    ("kind", "file"), [("network", "net"), ("pid", "pid"), ("ipc", "ipc"), ("uts", "uts")]
)
def test_namespace_of_another_sandbox(runner: Runner, kind: str, file: str) -> None:
    first = runner.start(runner.spec(["/bin/sleep", "600"]))

    def second(box: Any, _: Any) -> tuple[str, str]:
        spec = _without(runner, kind)
        path = f"/proc/{box.pid}/ns/{file}"
        spec["linux"]["namespaces"].append({"type": kind, "path": path})
        result = runner.run(runner.start(spec))
        return _links(result.out)[file], os.readlink(path)

    ours, theirs = within(lambda: runner.run_here(first, during=second))
    assert ours == theirs


def test_missing_namespace(runner: Runner) -> None:
    spec = _without(runner, "network")
    spec["linux"]["namespaces"].append({"type": "network", "path": "/no/such/ns"})
    with pytest.raises(StartFailed, match="network namespace /no/such/ns"):
        runner.run(runner.start(spec))


def test_fails_with_its_creator(runner: Runner) -> None:
    """A sandbox, parked or running, is killed when the process that made it dies."""
    start = runner.start(runner.spec(["/bin/sleep", "600"]))

    def alone() -> None:
        box, root_fd = runner.box(start)
        null = os.open("/dev/null", os.O_RDWR)
        box.launch(start, root_fd, (null, null, null))
        (runner.base / "pid").write_text(str(box.pid))
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(AssertionError, match="died"):
        within(alone)
    pid = int((runner.base / "pid").read_text())
    try:
        fd = pidfd_open(pid)
    except ProcessLookupError:
        pass
    else:
        import select

        assert select.select([fd], [], [], 5)[0], "it lives on"
        os.close(fd)
    from ketch.runtime.cgroups.group import Cgroup

    Cgroup(start["cgroup"]["parent"], start["cgroup"]["name"]).remove()


def test_parked_sandbox_is_no_target(runner: Runner) -> None:
    """Its memory is the launcher's: nobody without privileges over the host may look at it."""
    start = runner.start(runner.spec(["true"]))

    def look() -> tuple[list[str], str]:
        box, root_fd = runner.box(start)
        try:
            os.close(root_fd)
            fds = sorted(os.listdir(f"/proc/{box.pid}/fd"), key=int)
            os.setresgid(1000, 1000, 1000)
            os.setresuid(1000, 1000, 0)
            try:
                os.readlink(f"/proc/{box.pid}/exe")
                seen = "seen"
            except PermissionError:
                seen = "hidden"
            os.setresuid(0, 0, 0)
            return fds, seen
        finally:
            box.destroy()

    fds, seen = within(look)
    assert seen == "hidden"
    assert len(fds) < 10


def test_mounts_do_not_leak_to_the_host(runner: Runner) -> None:
    with open("/proc/self/mountinfo") as file:
        before = file.read()
    runner.sh("true")
    with open("/proc/self/mountinfo") as file:
        assert file.read() == before


@pytest.mark.parametrize("target", ["/proc/self/attr", "/proc/sys", "/proc/sys/kernel", "/proc//1"])
def test_nothing_is_mounted_inside_proc(runner: Runner, target: str) -> None:
    spec = runner.spec(["true"])
    spec["mounts"].append({"destination": target, "type": "bind", "source": str(runner.base)})
    with pytest.raises(InvalidParameter, match="inside /proc"):
        runner.run(runner.start(spec))


def test_filter_that_nobody_compiled(runner: Runner) -> None:
    spec = runner.spec(["true"])
    spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO"}
    with pytest.raises(Unsupported, match="compiled"):
        runner.run(runner.start(spec))


def test_no_new_privileges(runner: Runner) -> None:
    spec = runner.spec(["/bin/head", "-c", "2000", "/proc/self/status"], noNewPrivileges=True)
    assert "NoNewPrivs:\t1" in runner.run(runner.start(spec)).out


def test_ambient_capabilities_reach_other_users(runner: Runner) -> None:
    kinds = ("bounding", "effective", "permitted", "inheritable", "ambient")
    held = {kind: ["CAP_NET_RAW"] for kind in kinds}
    spec = runner.spec(["/bin/cat", "/proc/self/status"], capabilities=held)
    out = runner.run(runner.start(spec, user="alice")).out
    assert "CapEff:\t0000000000002000" in out
    assert "CapBnd:\t0000000000002000" in out


def test_unknown_capability(runner: Runner) -> None:
    spec = runner.spec(["true"], capabilities={"bounding": ["CAP_FLY"]})
    with pytest.raises(StartFailed, match="CAP_FLY"):
        runner.run(runner.start(spec))


def test_negative_oom_score_is_no_failure(runner: Runner) -> None:
    spec = runner.spec(["/bin/cat", "/proc/self/oom_score_adj"], oomScoreAdj=-900)
    assert runner.run(runner.start(spec)).status == 0
    spec = runner.spec(["/bin/cat", "/proc/self/oom_score_adj"], oomScoreAdj=500)
    assert runner.run(runner.start(spec)).out == "500\n"


def test_limits_reach_the_cgroup(runner: Runner) -> None:
    spec = runner.spec(["/bin/cat", "/sys/fs/cgroup/pids/pids.max"])
    spec["linux"]["resources"]["pids"] = {"limit": 41}
    if not os.path.isdir("/sys/fs/cgroup/pids"):
        spec["process"]["args"] = ["/bin/cat", "/sys/fs/cgroup/pids.max"]
    assert runner.run(runner.start(spec)).out == "41\n"


def test_out_of_memory_is_known(runner: Runner) -> None:
    spec = runner.spec(["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1"])
    spec["linux"]["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}

    def wait(box: sandbox.Sandbox, _: Any) -> tuple[int, bool]:
        status = os.waitstatus_to_exitcode(os.waitpid(box.pid, 0)[1])
        return status, box.oom_killed()

    start = runner.start(spec)
    assert within(lambda: runner.run_here(start, during=wait)) == (-signal.SIGKILL, True)
