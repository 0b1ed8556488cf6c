"""Images in Docker's shapes."""

from __future__ import annotations

from typing import Any

from ketch.api.convert_platform import platform_json
from ketch.api.times import SECOND, rfc3339
from ketch.api.versions import Version
from ketch.engine.images.values import (
    ATTESTATION,
    IMAGE,
    HistoryLine,
    ImageDetails,
    ImageRecord,
    ImageSummary,
    ManifestFacts,
    Manifests,
    Removed,
)
from ketch.oci.descriptor import Descriptor
from ketch.oci.image import Health, RunConfig


def list_json(summary: ImageSummary, version: Version) -> dict[str, Any]:
    """One row of ``GET /images/json``; with manifests the size is that of all of them, compressed
    and unpacked, as clients that show them expect."""
    found = image_summary(summary.record, version) | {
        "Labels": summary.labels or None,
        "SharedSize": summary.shared_size,
        "Containers": len(summary.containers) if version >= (1, 51) else -1,
    }
    if summary.manifests is not None:
        found["Size"] = sum(facts.content_size + facts.size for facts in summary.manifests.entries)
        found["Descriptor"] = descriptor_json(summary.manifests.target)
        found["Manifests"] = manifests_json(summary.manifests)
    return found


def descriptor_json(target: Descriptor) -> dict[str, Any]:
    """A descriptor; what it leaves out is left out here."""
    optional = {
        "annotations": target.annotations,
        "artifactType": target.artifact_type,
        "platform": platform_json(target.platform) if target.platform else None,
    }
    found = {"mediaType": target.media_type, "digest": target.digest, "size": target.size}
    return found | {name: value for name, value in optional.items() if value}


def manifests_json(told: Manifests | None) -> list[dict[str, Any]]:
    """``Manifests``; empty for images that came without any."""
    return [_manifest_json(facts) for facts in told.entries] if told else []


def _manifest_json(facts: ManifestFacts) -> dict[str, Any]:
    platform = platform_json(facts.platform)
    found: dict[str, Any] = {
        "ID": facts.descriptor.digest,
        "Descriptor": descriptor_json(facts.descriptor) | {"platform": platform},
        "Available": facts.available,
        "Size": {"Content": facts.content_size, "Total": facts.content_size + facts.size},
        "Kind": facts.kind,
    }
    if facts.kind == IMAGE:
        found["ImageData"] = {
            "Platform": platform,
            "Containers": list(facts.containers),
            "Size": {"Unpacked": facts.size},
        }
    elif facts.kind == ATTESTATION:
        found["AttestationData"] = {"For": facts.about}
    return found


def usage_json(summary: ImageSummary, version: Version) -> dict[str, Any]:
    """One row of ``GET /system/df``, which counted containers in every version."""
    return list_json(summary, version) | {"Containers": len(summary.containers)}


def image_summary(record: ImageRecord, version: Version) -> dict[str, Any]:
    """The part of a row that the record alone tells."""
    found: dict[str, Any] = {
        "Id": record.id,
        "ParentId": record.parent,
        "RepoTags": list(record.tags),
        "RepoDigests": list(record.digests),
        "Created": record.created_at // SECOND,
        "Size": record.size,
        "SharedSize": -1,
        "Labels": None,
        "Containers": -1,
    }
    if version < (1, 44):
        found["VirtualSize"] = record.size
    if version < (1, 43) and not record.tags and not record.digests:
        found |= {"RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"]}
    return found


def inspect_json(details: ImageDetails, version: Version, driver: str) -> dict[str, Any]:
    """``GET /images/{name}/json``."""
    record, config = details.record, details.config
    found: dict[str, Any] = {
        "Id": record.id,
        "RepoTags": list(record.tags),
        "RepoDigests": list(record.digests),
        "Parent": record.parent,
        "Comment": config.comment or (config.history[-1].comment if config.history else "") or "",
        "Created": config.created or "",
        "DockerVersion": config.docker_version or "",
        "Author": config.author or "",
        "Config": config_json(config.run, version),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": record.size,
        "GraphDriver": {"Name": driver, "Data": None},
        "RootFS": {"Type": "layers", "Layers": list(record.layers)},
        "Metadata": {"LastTagTime": rfc3339(details.last_tagged_at)},
    }
    if details.manifests is not None and version >= (1, 48):
        found["Descriptor"] = descriptor_json(details.manifests.target)
    if config.variant:
        found["Variant"] = config.variant
    if version < (1, 44):
        found["VirtualSize"] = record.size
    if version < (1, 45):
        found["ContainerConfig"] = config_json(RunConfig(), version)
    return found


_NOT_OF_IMAGES: dict[str, Any] = {
    "Hostname": "",
    "Domainname": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Image": "",
}
"""Members of a container's configuration that images showed, always empty, before API 1.50."""


def config_json(run: RunConfig, version: Version) -> dict[str, Any]:
    """``Config`` of an image."""
    found: dict[str, Any] = {
        **(_NOT_OF_IMAGES if version < (1, 50) else {}),
        "User": run.user,
        "Env": run.env,
        "Cmd": run.cmd,
        "Volumes": run.volumes,
        "WorkingDir": run.working_dir,
        "Entrypoint": run.entrypoint,
        "OnBuild": run.on_build,
        "Labels": run.labels,
    }
    optional = {
        "ExposedPorts": run.exposed_ports,
        "StopSignal": run.stop_signal,
        "StopTimeout": run.stop_timeout if version < (1, 50) else None,
        "Shell": run.shell,
        "ArgsEscaped": run.args_escaped,
        "Healthcheck": _healthcheck(run.healthcheck),
    }
    return found | {name: value for name, value in optional.items() if value}


def _healthcheck(health: Health | None) -> dict[str, Any] | None:
    if health is None:
        return None
    asked = {
        "Test": health.test,
        "Interval": health.interval,
        "Timeout": health.timeout,
        "StartPeriod": health.start_period,
        "StartInterval": health.start_interval,
        "Retries": health.retries,
    }
    return {name: value for name, value in asked.items() if value}


def history_json(line: HistoryLine) -> dict[str, Any]:
    """One row of ``GET /images/{name}/history``."""
    return {
        "Id": line.id or "<missing>",
        "Created": line.created_at // SECOND,
        "CreatedBy": line.created_by,
        "Tags": list(line.tags) or None,
        "Size": line.size,
        "Comment": line.comment,
    }


def removed_json(removed: Removed) -> dict[str, str]:
    """One row of what a removal did."""
    if removed.untagged:
        return {"Untagged": removed.untagged}
    return {"Deleted": removed.deleted}
