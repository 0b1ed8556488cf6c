"""Bodies of the volume routes."""

from __future__ import annotations

from typing import Any

from ketch.api.schema import Body, Map


class VolumeCreate(Body):
    """``POST /volumes/create``."""

    Name: str | None = None
    Driver: str | None = None
    DriverOpts: Map = None
    Labels: Map = None
    ClusterVolumeSpec: dict[str, Any] | None = None
