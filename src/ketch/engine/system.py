"""Facts about the machine and the engine."""

from __future__ import annotations

from ketch.engine.model import DiskUsage, SystemInfo, VersionFacts


class System:
    """Version, info, disk usage."""

    storage_driver: str
    """Name of the snapshotter, as inspect shows it."""

    def version(self) -> VersionFacts:
        """Versions of ketch and what it stands on."""
        raise NotImplementedError

    async def info(self) -> SystemInfo:
        """Counts, drivers, limits, warnings."""
        raise NotImplementedError

    async def disk_usage(self) -> DiskUsage:
        """Sizes of layers, containers, volumes."""
        raise NotImplementedError
