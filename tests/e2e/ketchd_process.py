"""A ketchd of the tests' own, and the real docker CLI that drives it."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import pty
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

from free_networks import free_octet

DOCKER = "/usr/local/bin/docker"
BUSYBOX = "/bin/busybox"
TIMEOUT = 120  # seconds; a machine with much else to do may need them


def docker_path() -> str | None:
    """The CLI of the issue, or whichever is in PATH."""
    return DOCKER if os.access(DOCKER, os.X_OK) else shutil.which("docker")


class Ketchd:
    """One daemon with roots, bridge, cgroup and rules that nobody else has."""

    def __init__(self, folder: Path, **options: str) -> None:
        self.tag = secrets.token_hex(3)
        self.octet = free_octet("10.198", "10.199")
        self.folder = folder
        self.data, self.run = folder / "data", folder / "run"
        self.socket = self.run / "ketch.sock"
        self.bridge = f"kt{self.tag}"
        self.cgroup = f"/ketch-test-{self.tag}"
        self.table = f"ketch_test_{self.tag}"
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "ketchd.log"
        self.config = folder / "docker-config"
        self.config.mkdir(parents=True)
        (folder / "daemon.json").touch()

    def flags(self) -> list[str]:
        flags = {
            "data-root": str(self.data),
            "exec-root": str(self.run),
            "host": f"unix://{self.socket}",
            "bridge": self.bridge,
            "bip": f"10.199.{self.octet}.1/24",
            "default-address-pool": f"base=10.198.{self.octet}.0/24,size=28",
            "cgroup-parent": self.cgroup,
            "nft-table": self.table,
            "cpu-rt-runtime": "20000",  # of each second
            "cdi-spec-dir": str(self.folder / "cdi"),
            "config-file": str(self.folder / "daemon.json"),
            "certs-dir": str(self.folder / "certs.d"),
            **self.options,
        }
        return [word for name, value in flags.items() for word in (f"--{name}", value)]

    def start(self) -> None:
        """Returns when the daemon answers."""
        log = open(self.log, "ab")  # noqa: SIM115
        with log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ketch.daemon", *self.flags()],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self.answers, f"ketchd did not answer:\n{self.tail()}")

    def answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"ketchd ended with {self.process.returncode}:\n{self.tail()}")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(TIMEOUT)
            try:
                sock.connect(str(self.socket))
                sock.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
                return sock.recv(15).startswith(b"HTTP/1.1 200")
            except OSError:
                return False

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-6000:] if self.log.exists() else ""

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(TIMEOUT)
        self.process = None
        return code

    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(self.config),
            "DOCKER_BUILDKIT": "0",
            "DOCKER_CLI_HINTS": "false",
        }

    def docker(
        self, *words: str, input: bytes | None = None, code: int | None = 0, timeout: int = TIMEOUT
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the CLI; ``code`` is the exit status that must come (None: any)."""
        done = subprocess.run(
            [docker_path() or "docker", *words],
            env=self.env(),
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        assert code is None or done.returncode == code, (
            f"docker {' '.join(words)}: exit {done.returncode}, wanted {code}\n"
            f"stdout: {done.stdout.decode(errors='replace')[-2000:]}\n"
            f"stderr: {done.stderr.decode(errors='replace')[-2000:]}\n"
            f"daemon: {self.tail()}"
        )
        return done

    def unfinished(self) -> list[str]:
        """What is being made in the data root, or was left of it."""
        found = [*(self.data / "tmp").iterdir(), *self.data.glob("nests/*/*")]
        return sorted(str(path) for path in found)

    def out(self, *words: str, **options: object) -> str:
        """Its standard output, stripped."""
        return self.docker(*words, **options).stdout.decode().strip()  # type: ignore[arg-type]

    def popen(self, *words: str, **options: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [docker_path() or "docker", *words],
            env=self.env(),
            **options,  # type: ignore[call-overload]
        )

    @contextlib.contextmanager
    def terminal(self, *words: str) -> Iterator[Terminal]:
        """The CLI on a terminal of its own."""
        session = Terminal([docker_path() or "docker", *words], self.env())
        try:
            yield session
        finally:
            session.close()

    def shutdown_everything(self) -> None:
        """Remove containers, end the daemon, take away what it leaves."""
        if self.process is None:
            self.start()
        ids = self.out("ps", "-aq").split()
        if ids:
            self.docker("rm", "-fv", *ids)
        assert self.stop() == 0
        self.clean_up()

    def clean_up(self) -> None:
        """``ketchd --cleanup``: the launcher, the bridge, the rules, the cgroup."""
        command = [sys.executable, "-m", "ketch.daemon", *self.flags(), "--cleanup"]
        subprocess.run(command, check=True, timeout=TIMEOUT)


def is_zombie(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class Terminal:
    """A program on a pseudo terminal."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(command[0], command, {**env, "TERM": "xterm"})
        self._status: int | None = None

    def send(self, data: bytes) -> None:
        os.write(self.fd, data)

    def expect(self, pattern: str, timeout: float = 60) -> str:
        """Read until the pattern shows up; what was read up to its end is used up."""
        compiled = re.compile(pattern.encode())
        deadline = time.monotonic() + timeout
        while (match := compiled.search(self.seen)) is None:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self.fd], [], [], left)[0]
            chunk = self._read() if ready else b""
            assert chunk, f"{pattern!r} did not come; seen: {self.seen!r}"
            self.seen += chunk
        text, self.seen = self.seen[: match.end()], self.seen[match.end() :]
        return text.decode(errors="replace")

    def _read(self) -> bytes:
        try:
            return os.read(self.fd, 65536)
        except OSError as error:
            if error.errno == errno.EIO:
                return b""
            raise

    def wait(self, timeout: float = 60) -> int:
        """The exit code; output is drained meanwhile."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.05)[0]:
                self.seen += self._read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
                return self._status
        raise AssertionError(f"the program did not end; seen: {self.seen!r}")

    def close(self) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


def wait_for(condition: object, message: str, timeout: float = 60) -> None:
    """Poll until ``condition()`` holds; patient, for a machine that has much else to do."""
    assert callable(condition)
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.02)


def run(ketchd: Ketchd, *words: str, code: int = 0) -> str:
    """What a container of a moment says, on both streams."""
    done = ketchd.docker("run", "--rm", *words, code=code)
    return (done.stdout + done.stderr).decode().strip()


def parent_of(pid: int) -> int:
    """Of a container's first process that is its supervisor."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def busybox_tar() -> bytes:
    """A root file system of the machine's static busybox."""
    applets = subprocess.run(
        [BUSYBOX, "--list"], capture_output=True, text=True, check=True
    ).stdout.split()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("bin", "etc", "tmp", "root", "home"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)
        tar.add(BUSYBOX, "bin/busybox")
        for applet in applets:
            if applet != "busybox":
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        for name, text in (
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000::/home:/bin/sh\n"),
            ("etc/group", "root:x:0:\nguest:x:1000:\n"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()
