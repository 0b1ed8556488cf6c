"""A container as ``ps`` shows it, with Docker's words for how long ago something was."""

from __future__ import annotations

import time
from typing import Any

from ketch.api.convert_endpoint import networks_json, summary_ports
from ketch.api.convert_mounts import points_json
from ketch.api.times import SECOND
from ketch.api.versions import Version
from ketch.engine.containers.list import ContainerSizes
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.engine.containers.spec import ContainerSpec


def summary_json(
    record: ContainerRecord, version: Version, sizes: ContainerSizes | None = None
) -> dict[str, Any]:
    """One row of ``GET /containers/json``."""
    spec = record.spec
    found = {
        "Id": record.id,
        "Names": [f"/{record.name}"],
        "Image": spec.image,
        "ImageID": record.image_id,
        "Command": _command((*(spec.entrypoint or ()), *(spec.cmd or ()))),
        "Created": record.created_at // SECOND,
        "Ports": summary_ports(record),
        "Labels": spec.labels,
        "State": record.state.status.value,
        "Status": status_text(record, time.time_ns()),
        "HostConfig": _host_json(spec, version),
        "NetworkSettings": {"Networks": networks_json(record, version)},
        "Mounts": points_json(spec, record.mount_points),
    }
    if sizes is not None:
        found["SizeRw"], found["SizeRootFs"] = sizes.rw, sizes.root
    return found


def _command(words: tuple[str, ...]) -> str:
    """As dockerd shows it: arguments with spaces in single quotes, whatever else they hold."""
    shown = [f"'{word}'" if " " in word else word for word in words[1:]]
    return " ".join((*words[:1], *shown))


def _host_json(spec: ContainerSpec, version: Version) -> dict[str, Any]:
    found: dict[str, Any] = {"NetworkMode": spec.network_mode}
    if version >= (1, 46) and spec.annotations:
        found["Annotations"] = spec.annotations
    return found


def status_text(record: ContainerRecord, now: int) -> str:
    """``Up 2 seconds (healthy)``, ``Exited (137) 4 seconds ago``…"""
    state = record.state
    since_end = human_duration(now - state.finished_at)
    match state.status:
        case Status.RUNNING | Status.PAUSED:
            return f"Up {human_duration(now - state.started_at)}{_remark(record)}"
        case Status.RESTARTING:
            return f"Restarting ({state.exit_code}) {since_end} ago"
        case Status.REMOVING:
            return "Removal In Progress"
        case Status.EXITED:
            return f"Exited ({state.exit_code}) {since_end} ago"
        case Status.DEAD:
            return "Dead"
    return "Created"


def _remark(record: ContainerRecord) -> str:
    if record.state.status is Status.PAUSED:
        return " (Paused)"
    health = record.state.health
    if health is None or health.status == "none":
        return ""
    return " (health: starting)" if health.status == "starting" else f" ({health.status})"


def human_duration(nanoseconds: int) -> str:
    """Roughly how long, in the words of Docker's status column."""
    seconds = max(nanoseconds, 0) // SECOND
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    return _minutes_and_more(seconds)


def _minutes_and_more(seconds: int) -> str:
    minutes = seconds // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = (seconds + 1800) // 3600
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    days = hours // 24
    if days < 14:
        return f"{days} days"
    if days < 60:
        return f"{days // 7} weeks"
    return f"{days // 30} months" if days < 730 else f"{days // 365} years"
