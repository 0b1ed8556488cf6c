"""Volumes in Docker's shape."""

from __future__ import annotations

from typing import Any

from ketch.api.times import rfc3339_seconds
from ketch.engine.volumes.values import VolumeRecord


def volume_json(volume: VolumeRecord) -> dict[str, Any]:
    """One volume, of list, create and inspect."""
    return {
        "CreatedAt": rfc3339_seconds(volume.created_at),
        "Driver": volume.driver,
        "Labels": volume.labels or None,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": volume.options or None,
        "Scope": "local",
    }
