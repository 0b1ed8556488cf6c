"""The two engines under measure, each on its own root, socket, bridge and cgroup parent.

Docker's daemon runs in a network and a mount namespace of its own, so that its bridge, its rules
and its mounts are gone with it and an installed Docker is not disturbed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

BIN = Path(__file__).resolve().parents[1] / ".venv" / "bin"
PATIENCE = 60.0
DEBIAN_CLIENT = Path("/usr/bin/docker")  # 20.10, with a client of BuildKit inside
BUILDX = "docker-buildx"


class Engine:
    """A running daemon; ``name`` is ``docker`` or ``ketch``."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.root = root
        self.tag = root.name.rpartition("-")[2]  # several may measure at a time
        self.socket = root / f"{name}.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """What makes ``docker`` and ``ketch`` talk to this engine."""
        host = f"unix://{self.socket}"
        return {**os.environ, "DOCKER_HOST": host, "KETCH_HOST": host, "DOCKER_BUILDKIT": "0"}

    def docker(self, *words: str, check: bool = True, data: bytes | None = None) -> str:
        """Run the docker command line against this engine; returns its output."""
        done = subprocess.run(
            ["docker", *words], env=self.environment(), capture_output=True, input=data, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"docker {' '.join(words)} on {self.name}: {done.stderr.decode()}")
        return done.stdout.decode()

    def command(self) -> list[str]:
        """The daemon's command line."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        log = (self.root / f"{self.name}.log").open("wb")
        self.process = subprocess.Popen(
            self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            if (
                self.socket.exists()
                and self.docker("version", "-f", "{{.Server.Os}}", check=False).strip()
            ):
                return
            time.sleep(0.1)
        raise RuntimeError(
            f"{self.name} did not start:\n{(self.root / f'{self.name}.log').read_text()}"
        )

    def stop(self) -> None:
        """Remove all containers and end the daemon."""
        if self.process is None:
            return
        identities = self.docker("ps", "-aq", check=False).split()
        if identities:
            self.docker("rm", "-f", *identities, check=False)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def tree(self) -> list[int]:
        """Pids of the daemon's own processes, supervisors of containers not counted."""
        raise NotImplementedError

    def everything(self) -> list[int]:
        """Pids of all processes that are there when no container runs, one of each memory."""
        return self.tree()

    def supervisors(self, names: list[str]) -> list[int]:
        """Pids of the supervisors of containers: the parents of their first processes."""
        found = self.docker("inspect", "-f", "{{.State.Pid}}", *names).split()
        return [parent_of(int(pid)) for pid in found]


class Docker(Engine):
    """Debian's dockerd with a containerd of its own."""

    def __init__(self, root: Path) -> None:
        super().__init__("docker", root)

    def command(self) -> list[str]:
        daemon = [
            "dockerd",
            *("--data-root", str(self.root / "docker-data")),
            *("--exec-root", str(self.root / "docker-run")),
            *("--pidfile", str(self.root / "docker.pid")),
            *("--host", f"unix://{self.socket}"),
            *("--cgroup-parent", f"/ketch-bench-docker-{self.tag}"),
            "--config-file=" + str(self._config()),
        ]
        # A containerd of the machine would be taken instead, and does not see our mounts.
        hide = "[ ! -d /run/containerd ] || mount -t tmpfs tmpfs /run/containerd"
        inside = f"ip link set lo up; {hide}; exec " + " ".join(daemon)
        return ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", inside]

    def _config(self) -> Path:
        path = self.root / "docker.json"
        path.write_text(json.dumps({}))
        return path

    def tree(self) -> list[int]:
        assert self.process is not None
        return [self.process.pid, *_children(self.process.pid, "containerd")]

    def stop(self) -> None:
        super().stop()
        for path in Path("/sys/fs/cgroup").glob(f"*/ketch-bench-docker-{self.tag}"):
            _remove_groups(path)


class Ketch(Engine):
    """ketchd of this checkout."""

    def __init__(self, root: Path) -> None:
        super().__init__("ketch", root)
        self.exec_root = root / "ketch-run"

    def command(self) -> list[str]:
        return [
            str(BIN / "ketchd"),
            *("--data-root", str(self.root / "ketch-data")),
            *("--exec-root", str(self.exec_root)),
            *("--host", f"unix://{self.socket}"),
            *("--bridge", f"kb{self.tag}"),
            *("--nft-table", f"ketch-bench-{self.tag}"),
            *("--cgroup-parent", f"/ketch-bench-{self.tag}"),
        ]

    def ketch(self, *words: str) -> list[str]:
        """A command line of our own client."""
        return [str(BIN / "ketch"), *words]

    def stop(self) -> None:
        super().stop()
        flags = self.command()[1:]
        subprocess.run([str(BIN / "ketchd"), *flags, "--cleanup"], check=False)

    def launcher(self) -> int:
        """The launcher's pid."""
        return int((self.exec_root / "launcher.pid").read_text())

    def tree(self) -> list[int]:
        assert self.process is not None
        return [self.process.pid, self.launcher()]

    def everything(self) -> list[int]:
        assert self.process is not None
        return [self.process.pid, self.launcher(), *_with_own_memory(self.launcher())]


def prefer(newer: Path, work: Path) -> None:
    """Take dockerd, containerd, docker and buildx, all of them, from where scripts/newer.sh
    unpacked them; the client's configuration is one of this run."""
    programs = [str(newer / place) for place in ("usr/sbin", "usr/bin")]
    os.environ["PATH"] = os.pathsep.join([*programs, os.environ["PATH"]])
    os.environ["DOCKER_CONFIG"] = str(work / "docker-config")
    plugins = work / "docker-config" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / BUILDX).symlink_to(newer / "usr/libexec/docker/cli-plugins" / BUILDX)


def buildkit_client() -> str:
    """The docker program that can ask BuildKit: one with buildx, or Debian's; or nothing."""
    config = os.environ.get("DOCKER_CONFIG", "")
    if config and (Path(config) / "cli-plugins" / BUILDX).exists():
        return "docker"
    return str(DEBIAN_CLIENT) if DEBIAN_CLIENT.exists() else ""


def available() -> bool:
    """Whether Docker's daemon is installed."""
    return shutil.which("dockerd") is not None and shutil.which("docker") is not None


def _remove_groups(path: Path) -> None:
    """A cgroup and those below it; BuildKit leaves some with processes that are about to end."""
    for below in [*path.iterdir()]:
        if below.is_dir():
            _remove_groups(below)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return path.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _children(pid: int, name: str = "") -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            comm = Path(f"/proc/{child}/comm")
            if not name or (comm.exists() and comm.read_text().strip() == name):
                found.append(int(child))
    return found


def _descendants(pid: int) -> list[int]:
    children = _children(pid)
    return [*children, *(below for child in children for below in _descendants(child))]


def _with_own_memory(pid: int) -> list[int]:
    """Descendants, without those that share the memory of their parent (CLONE_VM)."""
    return [
        found for found in _descendants(pid) if _memory_of(found) != _memory_of(parent_of(found))
    ]


def _memory_of(pid: int) -> str:
    return Path(f"/proc/{pid}/smaps_rollup").read_text()


def parent_of(pid: int) -> int:
    """Field 4 of /proc/PID/stat."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
