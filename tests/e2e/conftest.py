"""One daemon for the session; at its end nothing may be left of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.buildx_client import buildx as buildx
from e2e.buildx_client import each_buildx as each_buildx
from e2e.ketchd_process import BUSYBOX, Ketchd, busybox_tar, docker_path
from e2e.leaks import kill_processes, leftovers, remove_cgroup_parent

if TYPE_CHECKING:
    import docker

IMAGE = "busybox:latest"
_shared: list[Ketchd] = []  # the session's daemon, once there is one


@pytest.fixture(scope="session", autouse=True)
def _needs() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if docker_path() is None:
        pytest.skip("needs the docker CLI")
    if not os.access(BUSYBOX, os.X_OK):
        pytest.skip("needs busybox-static")


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell that runs the tests in the background has SIGINT ignored, and so have all that they
    start: Ctrl-C would end none of them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def ketchd() -> Iterator[Ketchd]:
    """A daemon that holds the image ``busybox``."""
    folder = Path(tempfile.mkdtemp(prefix="ketch-e2e-"))
    daemon = Ketchd(folder)
    try:
        daemon.start()
        load_busybox(daemon)
        _shared.append(daemon)
        yield daemon
        daemon.shutdown_everything()
        assert_clean(daemon)
    finally:
        _shared.clear()
        clean_up(daemon)


@pytest.fixture(scope="module", autouse=True)
def _leaves_no_container() -> Iterator[None]:
    """What a module leaves in the session's daemon would hold the image that others remove."""
    yield
    for daemon in _shared:
        left = daemon.out("ps", "-a", "--format", "{{.ID}} {{.Names}} {{.Image}} {{.Command}}")
        for line in left.splitlines():
            daemon.docker("rm", "-fv", line.split()[0])
        assert not left, f"containers left behind:\n{left}"


def assert_clean(daemon: Ketchd) -> None:
    """Network namespaces die a little later than the processes in them."""
    deadline = time.monotonic() + 15
    while (left := leftovers(daemon)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left, f"left behind: {left}"


def load_busybox(daemon: Ketchd) -> None:
    daemon.docker(
        "import", "--change", 'CMD ["sh"]', "--change", "ENV PATH=/bin:/sbin", "-", IMAGE,
        input=busybox_tar(),
    )  # fmt: skip


def clean_up(daemon: Ketchd) -> None:
    """Whatever happened, leave nothing; fail when something had to be swept here."""
    left = leftovers(daemon)
    if daemon.process is not None:
        daemon.process.kill()
        daemon.process.wait()
    kill_processes(daemon)
    subprocess.run(["ip", "link", "delete", daemon.bridge], capture_output=True, check=False)
    subprocess.run(["nft", "delete", "table", "ip", daemon.table], capture_output=True, check=False)
    if not left.get("cgroups"):
        remove_cgroup_parent(daemon.cgroup)
    shutil.rmtree(daemon.folder, ignore_errors=True)
    assert not left, f"left behind: {left}"


@contextlib.contextmanager
def another(ketchd: Ketchd) -> Iterator[Ketchd]:
    """A second engine with the first one's busybox, which leaves nothing."""
    daemon = Ketchd(Path(tempfile.mkdtemp(prefix="ketch-e2e-")))
    try:
        daemon.start()
        daemon.docker("load", input=ketchd.docker("save", "busybox").stdout)
        yield daemon
        daemon.shutdown_everything()
        assert_clean(daemon)
    finally:
        clean_up(daemon)


@pytest.fixture
def name(ketchd: Ketchd, request: pytest.FixtureRequest) -> Iterator[str]:
    """A container name that is gone afterwards."""
    chosen = "t-" + "".join(c if c.isalnum() else "-" for c in request.node.name)[:40]
    yield chosen
    ketchd.docker("rm", "-fv", chosen, code=None)


@pytest.fixture(scope="module")
def api(ketchd: Ketchd) -> Iterator[docker.APIClient]:
    """docker-py on the session's daemon."""
    import docker

    found = docker.APIClient(base_url=f"unix://{ketchd.socket}", version="auto", timeout=60)
    yield found
    found.close()
