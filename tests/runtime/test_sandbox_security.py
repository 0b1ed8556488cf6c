"""The default sandbox seen from inside, against the reference: nothing looser."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from sandbox_runner import Runner, join_run, within

from ketch.linux import capabilities
from ketch.runtime import defaults
from ketch.runtime.seccomp.compiler import compile_profile
from ketch.runtime.seccomp.profile import default_profile

pytestmark = pytest.mark.root

PROBE = Path(__file__).with_name("sandbox_probe.py")
HELD = capabilities.mask(defaults.CAPABILITIES)
REFUSED = ("Operation not permitted", "Function not implemented")


def _spec(runner: Runner) -> dict[str, Any]:
    """A default configuration in which the tests' interpreter can run."""
    python = os.path.realpath(sys.executable)
    spec = runner.spec([python, "-I", "-S", "/probe.py"])
    for path in ("/usr", "/lib", "/lib64", sys.base_prefix, str(PROBE)):
        target = "/probe.py" if path == str(PROBE) else path
        if not any(target.startswith(mount["destination"] + "/") for mount in spec["mounts"]):
            options = ["rbind", "ro"]
            spec["mounts"].append(
                {"destination": target, "type": "bind", "source": path, "options": options}
            )
    spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    return spec


def _filter(runner: Runner) -> str:
    return compile_profile(default_profile(frozenset(defaults.CAPABILITIES)), str(runner.base))


@pytest.fixture(scope="module")
def facts(runner: Runner) -> dict[str, dict[str, Any]]:
    """What the probe finds as the container's program (``run``) and as an exec (``exec``)."""
    program = _filter(runner)
    spec = _spec(runner)
    first = runner.run(runner.start(spec, seccomp=program))
    assert first.status == 0, first.err
    sleeper = _spec(runner)
    sleeper["process"]["args"] = ["/bin/sleep", "600"]
    job = {"process": spec["process"], "user": "", "seccomp": program}
    start = runner.start(sleeper, seccomp=program)
    second = within(lambda: runner.run_here(start, during=lambda box, _: join_run(box, job)))
    assert second.status == 0, second.out
    user = runner.run(runner.start(_spec(runner), seccomp=program, user="alice"))
    assert user.status == 0, user.err
    texts = {"run": first.out, "exec": second.out, "user": user.out}
    return {name: json.loads(text) for name, text in texts.items()}


@pytest.mark.parametrize("how", ["run", "exec"])
def test_capabilities(facts: dict[str, Any], how: str) -> None:
    status = facts[how]["status"]
    sets = {key: int(status[key], 16) for key in status if key.startswith("Cap")}
    wanted = {"CapInh": 0, "CapAmb": 0, "CapPrm": HELD, "CapEff": HELD, "CapBnd": HELD}
    assert sets == wanted
    assert status["Seccomp"] == "2"
    assert status["Seccomp_filters"] == "1"
    assert status["NoNewPrivs"] == "0"


def test_other_users_hold_nothing(facts: dict[str, Any]) -> None:
    status = facts["user"]["status"]
    for key in ("CapInh", "CapAmb", "CapPrm", "CapEff"):
        assert int(status[key], 16) == 0, key
    assert int(status["CapBnd"], 16) == HELD


@pytest.mark.parametrize("key", ["status", "syscalls", "sockets", "devices", "writes", "mounts"])
def test_exec_equals_run(facts: dict[str, Any], key: str) -> None:
    first, second = facts["run"][key], facts["exec"][key]
    if key == "mounts":
        first.pop("/", None), second.pop("/", None)  # named after their directories
    assert second == first


@pytest.mark.parametrize("how", ["run", "exec", "user"])
def test_system_calls_are_refused(facts: dict[str, Any], how: str) -> None:
    calls = dict(facts[how]["syscalls"])
    allowed = {"chroot"}
    assert calls["clone3"] == "Function not implemented"
    for name, what in calls.items():
        if name not in allowed:
            assert what in REFUSED, (name, what)


@pytest.mark.parametrize("how", ["run", "exec", "user"])
def test_sockets(facts: dict[str, Any], how: str) -> None:
    found = facts[how]["sockets"]
    for name in ("alg", "alg_high_bit", "vsock"):
        assert found[name] in REFUSED, name
    assert found["inet"] == "ok"
    assert found["icmp"] == "ok"
    assert (found["packet"] == "ok") is (how != "user")


def test_devices(facts: dict[str, Any]) -> None:
    allowed = {"c 1:3", "c 1:5", "c 1:7", "c 1:8", "c 1:9", "c 5:0", "c 5:2"}
    found = facts["run"]["devices"]
    assert found["c 1:3"] == found["c 1:9"] == "ok"
    assert {name for name, what in found.items() if what == "ok"} <= allowed
    for name in set(found) - allowed:
        assert found[name] == "Operation not permitted", name


def test_kernel_and_cgroup_files_cannot_be_written(facts: dict[str, Any]) -> None:
    found = {path: what for path, what in facts["run"]["writes"].items() if what == "ok"}
    assert set(found) <= {"/proc/1/oom_score_adj"}  # the container's own


def test_masked_paths_are_empty(facts: dict[str, Any]) -> None:
    found = facts["run"]["reads"]
    assert all(what in (0, "missing", "No such file or directory") for what in found.values()), (
        found
    )


def test_mounts(facts: dict[str, Any]) -> None:
    mounts = facts["run"]["mounts"]
    expected = {
        "/proc": {"nosuid", "nodev", "noexec", "rw"},
        "/dev": {"nosuid", "rw"},
        "/dev/pts": {"nosuid", "noexec", "rw"},
        "/dev/shm": {"nosuid", "nodev", "noexec", "rw"},
        "/dev/mqueue": {"nosuid", "nodev", "noexec", "rw"},
        "/sys": {"nosuid", "nodev", "noexec", "ro"},
        "/sys/fs/cgroup": {"nosuid", "nodev", "noexec", "ro"},
        "/proc/sys": {"ro", "nosuid", "nodev", "noexec"},
        "/proc/bus": {"ro"},
        "/proc/irq": {"ro"},
        "/proc/sysrq-trigger": {"ro"},
        "/proc/kcore": {"nosuid"},
        "/sys/firmware": {"ro"},
    }
    for path, options in expected.items():
        if path in mounts or path in ("/proc", "/proc/sys", "/dev", "/sys", "/dev/shm"):
            assert options <= set(mounts[path]["options"]), (path, mounts[path])
    assert "size=65536k" in mounts["/dev/shm"]["super"]
    assert "gid=5" in mounts["/dev/pts"]["super"]
    assert all(not mount["peers"] for mount in mounts.values())
    cgroups = [mount for mount in mounts.values() if mount["type"].startswith("cgroup")]
    assert cgroups
    assert all("ro" in mount["options"] for mount in cgroups)


def test_dev_holds_the_defaults_alone(facts: dict[str, Any]) -> None:
    nodes = {"full", "null", "random", "tty", "urandom", "zero"}
    links = {"core", "fd", "ptmx", "stderr", "stdin", "stdout"}
    dev = facts["run"]["dev"]
    assert set(dev) == nodes | links | {"mqueue", "pts", "shm"}
    assert {dev[name] for name in nodes} == {"0o20666"}


def test_own_namespaces(facts: dict[str, Any]) -> None:
    for name in ("mnt", "net", "uts", "pid", "ipc", "cgroup", "time"):
        assert facts["run"]["namespaces"][name] != os.readlink(f"/proc/self/ns/{name}")
    found = facts["run"]
    assert all(line.endswith(":/") for line in found["cgroup"].split())
    assert found["processes"] == ["1"]
    assert found["links"] == ["lo"]
    assert found["ping"] == ["0", "2147483647"]
    assert found["ports"] == "0"


@pytest.mark.parametrize("number", [*range(3, 20), 63, 64])
def test_working_directory_by_open_files(runner: Runner, number: int) -> None:
    from ketch.errors import StartFailed

    spec = runner.spec(["/bin/ls", "/"], cwd=f"/proc/self/fd/{number}")
    with pytest.raises(StartFailed, match="working directory"):
        runner.run(runner.start(spec, make_cwd=False))


def test_link_to_open_files_as_working_directory(runner: Runner) -> None:
    from ketch.errors import StartFailed

    start = runner.start(runner.spec(["/bin/ls", "/"], cwd="/w"), make_cwd=False)
    (runner.base / start["id"] / "upper/w").symlink_to("/proc/self/fd/3")
    with pytest.raises(StartFailed, match="working directory"):
        runner.run(start)


@pytest.mark.parametrize("number", [3, 4, 5, 6, 7])
def test_exec_working_directory_by_open_files(runner: Runner, number: int) -> None:
    from ketch.errors import StartFailed

    start = runner.start(runner.spec(["/bin/sleep", "600"]))
    process = runner.spec(["/bin/ls", "."], cwd=f"/proc/self/fd/{number}")["process"]

    def run(box: Any, _: Any) -> str:
        return join_run(box, {"process": process, "user": ""}).out

    with pytest.raises(StartFailed, match="working directory"):
        within(lambda: runner.run_here(start, during=run))


def test_script_that_runs_its_interpreter_anew(runner: Runner) -> None:
    """``#!/proc/self/exe``: here there is no loader for it; see ketch.runtime.interpreter."""
    from ketch.errors import StartFailed

    start = runner.start(runner.spec(["/evil"]))
    script = runner.base / start["id"] / "upper/evil"
    script.write_text("#!/proc/self/exe\n")
    script.chmod(0o755)
    before = os.stat(os.path.realpath(sys.executable)).st_mtime_ns
    with pytest.raises(StartFailed):
        runner.run(start)
    assert os.stat(os.path.realpath(sys.executable)).st_mtime_ns == before
