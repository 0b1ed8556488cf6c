"""What no request may do: a server error, an answer that does not come, something left behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import assert_clean, clean_up
from e2e.fuzz_run import ROUND, campaign, clear
from e2e.ketchd_process import Ketchd, wait_for

pytestmark = pytest.mark.root

SEED = 20_261_125
COUNT = 3000


@pytest.fixture
def own() -> Iterator[Ketchd]:
    """A daemon whose objects are nobody else's."""
    daemon = Ketchd(Path(tempfile.mkdtemp(prefix="ketch-fuzz-")))
    try:
        daemon.start()
        clear(daemon)
        yield daemon
        daemon.shutdown_everything()
        assert_clean(daemon)
    finally:
        clean_up(daemon)


def descriptors(ketchd: Ketchd) -> int:
    assert ketchd.process is not None
    return len(os.listdir(f"/proc/{ketchd.process.pid}/fd"))


def test_no_server_error(own: Ketchd) -> None:
    assert not campaign(own, SEED, ROUND)
    before = descriptors(own)
    found = campaign(own, SEED + ROUND, COUNT - ROUND)
    assert not found, f"{len(found)} of {COUNT}, first ones: {found[:5]}"
    assert own.process is not None
    assert own.process.poll() is None
    wait_for(lambda: descriptors(own) <= before + 5, "descriptors of the daemon were left open")
