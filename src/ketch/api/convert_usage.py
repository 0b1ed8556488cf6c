"""Disk usage in Docker's shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ketch.api.convert_image import usage_json
from ketch.api.convert_summary import summary_json
from ketch.api.convert_volume import volume_json
from ketch.api.times import rfc3339
from ketch.api.versions import Version
from ketch.engine.builder.cache.records import CacheUsage
from ketch.engine.images.values import ImageSummary
from ketch.engine.system_values import DiskUsage


class UsageFacts(NamedTuple):
    """What the engine's services say."""

    disk: DiskUsage
    images: Sequence[ImageSummary]
    cache: Sequence[CacheUsage]


def disk_usage_json(facts: UsageFacts, asked: frozenset[str], version: Version) -> dict[str, Any]:
    """``GET /system/df`` as API versions below 1.52 have it; null for what was not asked for."""
    found: dict[str, Any] = {
        "LayersSize": facts.disk.layers_size,
        "Images": None,
        "Containers": None,
        "Volumes": None,
        "BuildCache": None,
    }
    if "image" in asked:
        found["Images"] = [usage_json(image, version) for image in facts.images]
    if "container" in asked:
        found["Containers"] = [
            summary_json(record, version, sizes) for record, sizes in facts.disk.containers
        ]
    if "volume" in asked:
        found["Volumes"] = [
            volume_json(volume) | {"UsageData": {"Size": size, "RefCount": references}}
            for volume, size, references in facts.disk.volumes
        ]
    if "build-cache" in asked:
        found["BuildCache"] = [_cache_json(record, version) for record in facts.cache]
    if version < (1, 42):
        found["BuilderSize"] = sum(record.size for record in facts.cache)
    return found


def _cache_json(record: CacheUsage, version: Version) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ID": record.id,
        "Type": record.type,
        "Description": record.description,
        "InUse": record.in_use,
        "Shared": record.shared,
        "Size": record.size,
        "CreatedAt": rfc3339(record.made_at),
        "LastUsedAt": rfc3339(record.used_at),
        "UsageCount": record.uses,
    }
    if version < (1, 42):
        found["Parent"] = record.parent
    elif record.parent:
        found["Parents"] = [record.parent]
    return found
