"""Directories of devices: bounded, whatever a request names."""

from __future__ import annotations

from pathlib import Path

import pytest

from ketch.engine.containers.limits import DeviceMap
from ketch.engine.spec import devices as spec_devices
from ketch.errors import InvalidParameter


def test_a_directory_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--device /`` must not hold up the engine for as long as the host's disk is large."""
    monkeypatch.setattr(spec_devices, "_MOST_LOOKED_AT", 3)
    for name in "abc":
        (tmp_path / name).touch()
    wanted = (DeviceMap(host_path=str(tmp_path), container_path="/dev/x"),)
    with pytest.raises(InvalidParameter, match="holds more than 3 files: name the devices"):
        spec_devices.resolve(wanted)
    (tmp_path / "c").unlink()
    with pytest.raises(InvalidParameter, match="not a device node"):
        spec_devices.resolve(wanted)
