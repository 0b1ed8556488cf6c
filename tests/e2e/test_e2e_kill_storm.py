"""kill -9 of the daemon at any instant, while containers, images and volumes come and go."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.buildx_client import Buildx
from e2e.conftest import assert_clean, clean_up, load_busybox
from e2e.ketchd_process import Ketchd, busybox_tar
from e2e.kill_storm import Bystander, Storm, clear, damaged, settle
from e2e.registry_process import Registry

pytestmark = pytest.mark.root


@pytest.fixture
def stage() -> Iterator[tuple[Ketchd, str]]:
    """A daemon, and the name of an image that a registry has."""
    daemon = Ketchd(Path(tempfile.mkdtemp(prefix="ketch-e2e-")))
    try:
        daemon.start()
        load_busybox(daemon)
        with Registry(daemon.folder / "registry") as registry:
            name = f"{registry.address}/storm:1"
            daemon.docker("import", "-", name, input=busybox_tar() + bytes(1024))
            daemon.docker("push", name)
            daemon.docker("rmi", name)
            yield daemon, name
        daemon.shutdown_everything()
        assert_clean(daemon)
    finally:
        clean_up(daemon)


def storm(stage: tuple[Ketchd, str], kills: int, servants: bool = False) -> Storm:
    daemon, pulled = stage
    bystander = Bystander(daemon)
    buildx = Buildx(daemon, "sid", daemon.folder / "buildx") if kills > 16 else None
    raging = Storm(daemon, pulled, buildx, servants)
    raging.prepare()
    raging.rage(kills)
    bystander.check()
    assert not damaged(daemon)
    clear(daemon)
    settle(daemon)
    return raging


def test_kill_storm(stage: tuple[Ketchd, str]) -> None:
    """Acknowledged operations are kept, running containers untouched, nothing is left."""
    counts = storm(stage, 16).counts
    assert {"create", "start"} <= counts.keys()
    assert len(counts) >= 6  # on a busy machine one of them may never come to its end


def test_servants_are_killed(stage: tuple[Ketchd, str]) -> None:
    """The same for launcher, zygote, nursery, workers, supervisors, and what is made ahead."""
    assert len(storm(stage, 10, servants=True).killed) >= 3


@pytest.mark.long
def test_long_storm_of_servants(stage: tuple[Ketchd, str]) -> None:
    storm(stage, 200, servants=True)


@pytest.mark.long
def test_long_kill_storm(stage: tuple[Ketchd, str]) -> None:
    storm(stage, 200)
