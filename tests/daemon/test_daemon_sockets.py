"""Sockets, the lock, systemd's protocols, the log's format."""

from __future__ import annotations

import logging
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ketch.daemon import listeners, systemd
from ketch.daemon.logs import _Formatter
from ketch.daemon.pidfile import LockedFile
from ketch.daemon.settings import Settings
from ketch.errors import Conflict, InvalidParameter


@pytest.mark.root
def test_unix_socket_mode_and_stale_socket(tmp_path: Path) -> None:
    path = tmp_path / "run" / "k.sock"
    settings = Settings(hosts=(f"unix://{path}",))
    for _ in range(2):  # the second time over the stale socket of the first
        (listener,) = listeners.open_all(settings)
        mode = path.stat()
        assert stat.S_IMODE(mode.st_mode) == 0o660
        assert mode.st_uid == 0
        listener.sock.close()


@pytest.mark.root
def test_a_served_socket_is_not_stolen(tmp_path: Path) -> None:
    path = tmp_path / "k.sock"
    settings = Settings(hosts=(f"unix://{path}",))
    (listener,) = listeners.open_all(settings)
    with listener.sock, pytest.raises(Conflict, match="another process"):
        listeners.open_all(settings)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(Conflict, match="no socket"):
        listeners.open_all(Settings(hosts=(f"unix://{tmp_path}/file",)))
    assert (tmp_path / "file").read_text() == "precious"


def test_fd_without_activation_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="passed no socket"):
        listeners.open_all(Settings(hosts=("fd://",)))


def test_unknown_group(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="no group"):
        listeners.open_all(Settings(hosts=(f"unix://{tmp_path}/s",), group="no-such-group"))


def test_socket_activation(tmp_path: Path) -> None:
    """A child that execs with fd 3 listening finds it."""
    code = (
        "import os; os.environ['LISTEN_PID'] = str(os.getpid());"
        "from ketch.daemon import listeners; from ketch.daemon.settings import Settings;"
        "l, = listeners.open_all(Settings(hosts=('fd://',)));"
        "print(l.sock.getsockname(), l.sock.get_inheritable(), 'LISTEN_FDS' in os.environ)"
    )
    path = str(tmp_path / "a.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        place = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3, inheritable=True);"
            "os.execv(sys.executable, [sys.executable, '-c', sys.argv[2]])"
        )
        done = subprocess.run(
            [sys.executable, "-c", place, str(sock.fileno()), code],
            pass_fds=(sock.fileno(),),
            env={**os.environ, "LISTEN_FDS": "1"},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    assert done.stdout.split() == [path, "False", "False"]


def test_notify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "n"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        systemd.notify("READY=1")
        assert sock.recv(64) == b"READY=1"


def test_the_lock_is_exclusive_and_names_its_owner(tmp_path: Path) -> None:
    path = str(tmp_path / "pid")
    first = LockedFile(path)
    assert Path(path).read_text() == f"{os.getpid()}\n"
    with pytest.raises(Conflict, match=f"pid {os.getpid()}"):
        LockedFile(path)
    first.release()
    LockedFile(path).release()


def test_a_log_line_cannot_be_forged() -> None:
    record = logging.LogRecord("ketch.x", 20, "", 0, 'a "b"\nlevel=error\x1b[0m', None, None)
    line = _Formatter().format(record)
    assert "\n" not in line
    assert "\x1b" not in line
    assert 'msg="a \\"b\\"\\nlevel=error' in line
