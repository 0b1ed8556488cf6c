"""A worker's way into a running container: only into the right one."""

from __future__ import annotations

import os
import subprocess

import pytest

from ketch.engine.containers import enter as container_enter
from ketch.errors import Unavailable


def test_a_number_that_another_process_has_by_now() -> None:
    with pytest.raises(Unavailable, match="another process"):
        container_enter._join(os.getpid(), "0123456789ab")


def test_a_process_that_has_ended() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(Unavailable, match="has ended"):
        container_enter._join(ended.pid, "0123456789ab")
