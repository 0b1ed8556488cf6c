"""Installing: which files are put in place, what systemd says of the units, socket activation."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import assert_clean, clean_up
from e2e.ketchd_process import Ketchd, wait_for

TOP = Path(__file__).parents[2]
FILES = {
    "usr/local/bin/ketch",
    "usr/local/bin/ketchd",
    "usr/local/bin/ketch-runtime",
    "etc/systemd/system/ketch.service",
    "etc/systemd/system/ketch.socket",
}


def script(name: str, destination: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(TOP / "scripts" / name), *words],
        env={**os.environ, "DESTDIR": str(destination)},
        capture_output=True,
        text=True,
        check=False,
    )


def files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    done = script("install.sh", tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_install_and_uninstall(installed: Path) -> None:
    assert files(installed) == FILES
    (installed / "etc/ketch").mkdir()
    (installed / "etc/ketch/daemon.json").write_text("{}")
    (installed / "usr/local/bin/other").write_text("somebody's")
    assert script("uninstall.sh", installed).returncode == 0
    assert files(installed) == {"etc/ketch/daemon.json", "usr/local/bin/other"}
    assert script("uninstall.sh", installed, "--purge").returncode == 0
    assert files(installed) == {"usr/local/bin/other"}


def test_a_foreign_program_is_not_removed(installed: Path) -> None:
    program = installed / "usr/local/bin/ketch"
    program.unlink()
    program.write_text("another ketch")
    assert script("uninstall.sh", installed).returncode == 0
    assert program.exists()
    assert script("uninstall.sh", installed, "--nonsense").returncode == 2


def test_systemd_accepts_the_units(installed: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    units = installed / "etc/systemd/system"
    service = units / "ketch.service"
    ketchd = installed / "usr/local/bin/ketchd"
    service.write_text(service.read_text().replace("/usr/local/bin/ketchd", str(ketchd)))
    done = subprocess.run(
        ["systemd-analyze", "verify", units / "ketch.socket", service],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


class Activated(Ketchd):
    """Started as systemd does it: with a listening socket, and where to report."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, host="fd://")
        self.reports = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.reports.bind(str(folder / "notify"))
        self.run.mkdir()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.socket))
        self.listener.listen()

    def start(self) -> None:
        """A client may connect before the daemon is there; then systemd starts it."""
        program = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = "
            "str(os.getpid()); os.execv(sys.executable, [sys.executable, '-m', 'ketch.daemon', "
            "*sys.argv[2:]])"
        )
        fd = self.listener.fileno()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, str(fd), *self.flags()],
                env={**os.environ, "LISTEN_FDS": "1", "NOTIFY_SOCKET": f"{self.folder}/notify"},
                pass_fds=[fd, 3] if fd != 3 else [3],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def report(self) -> str:
        self.reports.settimeout(20)
        return self.reports.recv(100).decode()


@pytest.fixture
def activated() -> Iterator[Activated]:
    daemon = Activated(Path(tempfile.mkdtemp(prefix="ketch-e2e-")))
    try:
        yield daemon
        daemon.clean_up()
        assert_clean(daemon)
    finally:
        clean_up(daemon)
        daemon.reports.close()
        daemon.listener.close()


@pytest.mark.root
def test_socket_activation(activated: Activated) -> None:
    """The first client waits in the socket's queue; the socket outlives the daemon."""
    with activated.popen("version", "-f", "{{.Server.Version}}", stdout=subprocess.PIPE) as early:
        activated.start()
        assert activated.report() == "READY=1"
        assert early.communicate(timeout=20)[0].strip()
        assert early.returncode == 0
    assert activated.stop(signal.SIGTERM) == 0
    assert activated.report() == "STOPPING=1"
    assert activated.socket.exists()
    activated.start()
    assert activated.report() == "READY=1"
    assert activated.out("ps", "-q") == ""
    activated.stop()
    wait_for(activated.socket.exists, "the socket is systemd's to remove")
