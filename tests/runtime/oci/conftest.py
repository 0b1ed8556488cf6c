"""The fixture of the tests of ``ketch-runtime``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from oci_machine import Machine


@pytest.fixture
def oci(tmp_path: Path) -> Iterator[Machine]:
    """A bundle and a state directory; nothing of it is left behind."""
    machine = Machine(tmp_path, f"/ketch-test-oci-{os.getpid()}")
    try:
        yield machine
    finally:
        machine.clean_up()
