"""Docker's own daemon with ``ketch-runtime`` in the place of runc."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.ketchd_process import busybox_tar, docker_path, wait_for

pytestmark = pytest.mark.root

RUNTIME = Path(sys.executable).with_name("ketch-runtime")


class Dockerd:
    """In namespaces of its own, whose end takes along all that it has started and mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cgroup = f"ketch-test-docker-{os.getpid()}"
        (folder / "docker.json").write_text("{}")

    def start(self) -> None:
        daemon = [
            "dockerd", "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/run",
            "--pidfile", f"{self.folder}/docker.pid", "--host", f"unix://{self.folder}/docker.sock",
            "--cgroup-parent", f"/{self.cgroup}", f"--config-file={self.folder}/docker.json",
            "--add-runtime", f"ketch={RUNTIME}", "--default-runtime", "ketch",
        ]  # fmt: skip
        apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        # a containerd of the machine would be taken instead, and is in other namespaces
        hide = "[ ! -d /run/containerd ] || mount -t tmpfs tmpfs /run/containerd"
        script = f"ip link set lo up; {hide}; exec " + " ".join(daemon)
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*apart, "--propagation", "private", "sh", "-c", script],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        wait_for(self._answers, "dockerd does not answer", 60)

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
        return (self.folder / "docker.sock").exists() and self.run("version", code=None) != ""

    def run(self, *words: str, code: int | None = 0, input: bytes = b"") -> str:
        """The docker CLI; its output, errors too where a failure is wanted."""
        done = subprocess.run(
            [str(docker_path()), *words],
            env={**os.environ, "DOCKER_HOST": f"unix://{self.folder}/docker.sock"},
            input=input, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        said = done.stdout.decode()
        assert code is None or done.returncode == code, (words, done, self.log())
        if code is None:
            return said if done.returncode == 0 else ""
        return said + (done.stderr.decode() if code else "")

    def log(self) -> str:
        return (self.folder / "log").read_text()[-3000:]

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for path in Path("/sys/fs/cgroup").glob(f"*/{self.cgroup}"):
            for below in (*path.iterdir(), path):
                if below.is_dir():
                    wait_for(lambda below=below: _removed(below), f"{below} is busy")


def _removed(path: Path) -> bool:
    try:
        path.rmdir()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def dockerd() -> Iterator[Dockerd]:
    if shutil.which("dockerd") is None:
        pytest.fail("needs dockerd: scripts/setup.sh test")
    folder = Path(tempfile.mkdtemp(prefix="ketch-dockerd-"))
    daemon = Dockerd(folder)
    try:
        daemon.start()
        daemon.run("import", "-", "busybox", input=busybox_tar())
        yield daemon
    finally:
        daemon.stop()
        shutil.rmtree(folder)


def test_run(dockerd: Dockerd) -> None:
    script = "cat; id -u; pwd; grep -c . /proc/self/status >/dev/null; exit 3"
    words = ("run", "--rm", "-i", "-u", "guest", "-w", "/tmp/new", "busybox", "sh", "-c", script)
    assert dockerd.run(*words, code=3, input=b"hello\n").startswith("hello\n1000\n/tmp/new\n")
    assert dockerd.run("info", "-f", "{{.DefaultRuntime}}") == "ketch\n"


@pytest.mark.parametrize(("command", "code"), [("nosuch", 127), ("/etc/passwd", 126)])
def test_what_cannot_be_executed(dockerd: Dockerd, command: str, code: int) -> None:
    assert command in dockerd.run("run", "--rm", "busybox", command, code=code)


def test_terminal(dockerd: Dockerd) -> None:
    assert dockerd.run("run", "--rm", "-t", "busybox", "tty").strip() == "/dev/pts/0"


def test_life(dockerd: Dockerd) -> None:
    """exec, top, pause, update, stop, start, kill, rm."""
    dockerd.run("run", "-d", "--name", "box", "-m", "64m", "busybox", "sleep", "600")
    assert dockerd.run("exec", "box", "sh", "-c", "echo $$; exit 4", code=4)
    assert "sleep 600" in dockerd.run("top", "box")
    limit = ("exec", "box", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
    assert int(dockerd.run(*limit)) == 64 << 20
    dockerd.run("update", "-m", "80m", "--memory-swap", "80m", "box")
    assert int(dockerd.run(*limit)) == 80 << 20
    dockerd.run("pause", "box")
    assert "(Paused)" in dockerd.run("ps")
    dockerd.run("unpause", "box")
    dockerd.run("stop", "-t", "0", "box")
    dockerd.run("start", "box")
    dockerd.run("kill", "box")
    assert json.loads(dockerd.run("inspect", "box"))[0]["State"]["ExitCode"] == 137
    dockerd.run("rm", "box")


def test_options(dockerd: Dockerd) -> None:
    script = "ulimit -n; cat /proc/sys/net/ipv4/ip_forward; touch /t/a /x || ls /dev/fuse"
    said = dockerd.run(
        "run", "--rm", "--init", "--read-only", "--tmpfs", "/t", "--ulimit", "nofile=100",
        "--sysctl", "net.ipv4.ip_forward=1", "--device", "/dev/fuse", "--security-opt",
        "no-new-privileges", "busybox", "sh", "-c", script,
    )  # fmt: skip
    assert said.split() == ["100", "1", "/dev/fuse"]
    assert (
        int(dockerd.run("run", "--rm", "--privileged", "busybox", "sh", "-c", "ls /dev|wc -l")) > 20
    )


def test_out_of_memory(dockerd: Dockerd) -> None:
    hog = "x=a; while :; do x=$x$x; done"
    limits = ("-m", "16m", "--memory-swap", "16m")
    dockerd.run("run", "--name", "hog", *limits, "busybox", "sh", "-c", hog, code=137)
    assert json.loads(dockerd.run("inspect", "hog"))[0]["State"]["OOMKilled"] is True
    dockerd.run("rm", "hog")
