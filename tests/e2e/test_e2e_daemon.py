"""The daemon as a service: modes, reload, socket activation, memory at rest."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import assert_clean, clean_up
from e2e.ketchd_process import Ketchd, wait_for
from ketch.runtime.cgroups.hierarchy import detect

pytestmark = pytest.mark.root

DOCKERD_AND_CONTAINERD = 130 << 20  # bytes of RSS at rest, measured


def test_modes(ketchd: Ketchd) -> None:
    assert stat.S_IMODE(ketchd.socket.stat().st_mode) == 0o660
    assert stat.S_IMODE(ketchd.data.stat().st_mode) == 0o710
    assert stat.S_IMODE((ketchd.run / "launcher.sock").stat().st_mode) == 0o600


def test_reload(ketchd: Ketchd) -> None:
    assert ketchd.process is not None
    file = ketchd.folder / "daemon.json"
    try:
        for text, said in (
            ('{"debug": true}', "debug changes now"),
            ('{"mtu": 1400}', "mtu changes after a restart"),
            ('{"bogus": 1}', "was not reloaded"),
        ):
            file.write_text(text)
            ketchd.process.send_signal(signal.SIGHUP)
            wait_for(lambda said=said: said in ketchd.tail(), f"not logged: {said}")
    finally:
        file.write_text("")
        ketchd.process.send_signal(signal.SIGHUP)
    assert ketchd.answers()


def resident(pid: int) -> int:
    """Bytes of RSS."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no Rss line")


@pytest.fixture
def fresh() -> Iterator[Ketchd]:
    """A daemon that is not started yet."""
    daemon = Ketchd(Path(tempfile.mkdtemp(prefix="ketch-e2e-")))
    try:
        yield daemon
        daemon.shutdown_everything()
        assert_clean(daemon)
    finally:
        clean_up(daemon)


def test_memory_at_rest(fresh: Ketchd) -> None:
    fresh.start()
    fresh.docker("ps")
    assert fresh.process is not None
    launcher = int((fresh.run / "launcher.pid").read_text())
    assert resident(fresh.process.pid) + resident(launcher) <= 0.6 * DOCKERD_AND_CONTAINERD


def test_a_killed_launcher_leaves_no_control_groups(fresh: Ketchd) -> None:
    """Those of warm members that were killed with their supervisors stayed until the next start of
    the daemon."""
    parent = next(tree.mount for tree in detect()) + fresh.cgroup
    fresh.start()

    def warm() -> set[str]:
        listed = os.listdir(parent) if os.path.isdir(parent) else ()
        return {name for name in listed if name.startswith("warm-")}

    wait_for(lambda: len(warm()) == 3, "the pool is not filled")
    before = warm()
    inside = [Path(f"{parent}/{name}/cgroup.procs").read_text().split() for name in before]
    first = [int(pid) for pids in inside for pid in pids]
    supervisors = [int(Path(f"/proc/{pid}/stat").read_text().split()[3]) for pid in first]
    launcher = int((fresh.run / "launcher.pid").read_text())
    for pid in (*supervisors, *first, launcher):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not warm() & before, "groups of killed members stay")


def test_socket_activation_and_readiness(fresh: Ketchd) -> None:
    fresh.run.mkdir()
    with (
        socket.socket(socket.AF_UNIX) as listening,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified,
        open(fresh.log, "ab") as log,
    ):
        listening.bind(str(fresh.socket))
        listening.listen()
        notified.bind(str(fresh.folder / "notify"))
        notified.settimeout(20)
        place = (
            "import os, sys; fd = int(sys.argv[1]); os.dup2(fd, 3, inheritable=True);"
            "os.set_inheritable(fd, fd == 3);"
            "os.environ['LISTEN_PID'] = str(os.getpid());"
            "os.execv(sys.executable, [sys.executable, '-m', 'ketch.daemon', *sys.argv[2:]])"
        )
        flags = [*fresh.flags(), "--host", "fd://"]
        at = flags.index("--host")
        del flags[at : at + 2]
        fresh.process = subprocess.Popen(
            [sys.executable, "-c", place, str(listening.fileno()), *flags],
            pass_fds=(listening.fileno(),),
            env={
                **os.environ,
                "LISTEN_FDS": "1",
                "NOTIFY_SOCKET": str(fresh.folder / "notify"),
            },
            stdout=log,
            stderr=log,
        )
        assert notified.recv(64) == b"READY=1"
    assert fresh.out("version", "--format", "{{.Server.APIVersion}}") == "1.51"
    assert fresh.stop() == 0
    assert fresh.socket.exists()  # the service manager's, not ours to remove


def test_a_broken_configuration_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"data-root": "/x", "nope": 1}')
    done = subprocess.run(
        [sys.executable, "-m", "ketch.daemon", "--config-file", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "'nope'" in done.stderr


def test_cleanup_leaves_what_others_made(fresh: Ketchd) -> None:
    """After a daemon that was killed; the socket it listened on has nobody any more."""
    fresh.start()
    fresh.stop(signal.SIGKILL)
    (fresh.run / "theirs").touch()
    fresh.clean_up()
    assert os.listdir(fresh.run) == ["theirs"]
    assert not [*Path("/sys/fs/cgroup").glob(f"*{fresh.cgroup}")]
    (fresh.run / "theirs").unlink()
    fresh.clean_up()
    assert not fresh.run.exists()
