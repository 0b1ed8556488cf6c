"""Logs and a daemon that is killed: a default driver of its own, followers, separate processes."""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import assert_clean, clean_up, load_busybox
from e2e.ketchd_process import Ketchd

pytestmark = pytest.mark.root

COUNT = "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); usleep 5000; done"


@pytest.fixture(scope="module")
def own() -> Iterator[Ketchd]:
    """A daemon whose containers log to ``local`` files of 4 kB."""
    daemon = Ketchd(Path(tempfile.mkdtemp(prefix="ketch-e2e-")))
    options = {"max-size": "4k", "max-file": "3"}
    configuration = {"log-driver": "local", "log-opts": options}
    (daemon.folder / "daemon.json").write_text(json.dumps(configuration))
    try:
        daemon.start()
        load_busybox(daemon)
        yield daemon
        daemon.shutdown_everything()
        assert_clean(daemon)
    finally:
        clean_up(daemon)


def test_the_default_driver_shows(own: Ketchd) -> None:
    own.docker("create", "--name", "plain", "busybox")
    own.docker("create", "--name", "other", "--log-driver", "json-file", "busybox")
    own.docker("create", "--name", "more", "--log-opt", "max-file=7", "busybox")
    found = [
        json.loads(own.out("inspect", "-f", "{{json .HostConfig.LogConfig}}", name))
        for name in ("plain", "other", "more")
    ]
    assert found == [
        {"Type": "local", "Config": {"max-size": "4k", "max-file": "3"}},
        {"Type": "json-file", "Config": {}},
        {"Type": "local", "Config": {"max-size": "4k", "max-file": "7"}},
    ]
    assert own.out("info", "-f", "{{.LoggingDriver}}") == "local"
    own.docker("rm", "plain", "other", "more")


@pytest.mark.parametrize("options", [(), ("--log-opt", "mode=non-blocking")])
def test_a_killed_daemon_and_a_container_that_goes_on(
    own: Ketchd, options: tuple[str, ...]
) -> None:
    words = ("run", "-d", "--name", "talker", "--log-opt", "max-size=1m", *options)
    own.docker(*words, "busybox", "sh", "-c", COUNT)
    own.stop(signal.SIGKILL)
    time.sleep(0.5)  # it writes while nobody is there
    own.start()
    done = own.docker("logs", "-f", "talker", timeout=120)
    lines = done.stdout.decode().split("\n")[:-1]
    assert lines == [f"line {n}" for n in range(400)]
    own.docker("rm", "talker")
