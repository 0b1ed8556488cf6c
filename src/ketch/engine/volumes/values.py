"""A volume as the state store keeps it."""

from __future__ import annotations

import msgspec


class VolumeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A volume of a driver."""

    name: str
    driver: str = "local"
    mountpoint: str = ""
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    created_at: int = 0
    anonymous: bool = False
    project: int = 0  # of the quota that bounds it
