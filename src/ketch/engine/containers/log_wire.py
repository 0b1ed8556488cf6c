"""The LOG object of the launcher protocol: how a shim is to keep a container's output (pure)."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from ketch.engine import patterns
from ketch.engine.containers import log_tag
from ketch.engine.containers.log_options import (
    BUFFER,
    FACILITIES,
    boolean,
    count,
    file_options,
    parse_size,
)

if TYPE_CHECKING:
    from ketch.engine.containers.record import ContainerRecord
    from ketch.engine.containers.spec import ContainerSpec, LogConfig
    from ketch.runtime.messages import Log


def path_of(bundle: str, container_id: str, log: LogConfig) -> str:
    """Where the output is kept so that it can be read; empty when it is not."""
    names = {"json-file": f"{container_id}-json.log", "local": "local.log", "none": ""}
    name = names.get(log.driver, "" if boolean(log.options, "cache-disabled") else "cached.log")
    return f"{bundle}/{name}" if name else ""


def log_wire(record: ContainerRecord) -> Log:
    """The whole object."""
    driver = record.spec.log.driver or "json-file"
    options = record.spec.log.options
    files = file_options(record.spec.log)
    max_size, max_file = parse_size(files["max-size"]), count(files["max-file"])
    wire: Log = {
        "driver": driver,
        "path": record.log_path,
        "max_size": max_size,
        "max_file": max_file,
        "compress": boolean(files, "compress") and max_file > 1 and max_size > 0,
        "attrs": attributes(record),
    }
    if options.get("mode") == "non-blocking":
        wire["buffer"] = parse_size(options.get("max-buffer-size", BUFFER))
    if driver == "syslog":
        wire["settings"] = _syslog(record, options)
    elif driver == "journald":
        wire["settings"] = {"fields": _journal_fields(record, options)}
    return wire


def attributes(record: ContainerRecord) -> dict[str, str]:
    """What ``labels=…``, ``env=…`` and ``tag=…`` add to each line."""
    options = record.spec.log.options
    tag = {"tag": log_tag.render(options["tag"], record)} if options.get("tag") else {}
    return {**_extra(record), **tag}


def _extra(record: ContainerRecord) -> dict[str, str]:
    options, spec = record.spec.log.options, record.spec
    return {
        **_chosen(options, "labels", spec.labels),
        **_chosen(options, "env", _environment(spec)),
    }


def _chosen(options: dict[str, str], key: str, values: dict[str, str]) -> dict[str, str]:
    names = {name.strip() for name in options.get(key, "").split(",")}
    pattern = options.get(f"{key}-regex", "")
    return {
        name: value
        for name, value in values.items()
        if name in names or (pattern and patterns.is_found(pattern, name))
    }


def _environment(spec: ContainerSpec) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in spec.env)
    return {name: value for name, _, value in pairs}


def _tag(record: ContainerRecord, options: dict[str, str]) -> str:
    return log_tag.render(options.get("tag") or log_tag.DEFAULT, record)


def _syslog(record: ContainerRecord, options: dict[str, str]) -> dict[str, Any]:
    facility = options.get("syslog-facility", "daemon")
    return {
        "address": options.get("syslog-address", ""),
        "facility": int(facility) if facility.isdigit() else FACILITIES[facility],
        "format": options.get("syslog-format", ""),
        "tag": _tag(record, options),
        "hostname": os.uname().nodename,
        "attrs": _extra(record),
        "ca": options.get("syslog-tls-ca-cert", ""),
        "cert": options.get("syslog-tls-cert", ""),
        "key": options.get("syslog-tls-key", ""),
        "skip_verify": boolean(options, "syslog-tls-skip-verify"),
    }


def _journal_fields(record: ContainerRecord, options: dict[str, str]) -> dict[str, str]:
    """The fields that Docker's journald driver gives, and the chosen labels and variables."""
    tag = _tag(record, options)
    return {
        **{_field_name(name): value for name, value in _extra(record).items()},
        "CONTAINER_ID": record.id[:12],
        "CONTAINER_ID_FULL": record.id,
        "CONTAINER_NAME": record.name,
        "CONTAINER_TAG": tag,
        "IMAGE_NAME": record.spec.image,
        "SYSLOG_IDENTIFIER": tag,
    }


def _field_name(name: str) -> str:
    """Journal fields are upper case letters, digits and underscores, and begin with a letter."""
    return re.sub(r"[^A-Z0-9_]", "_", name.upper()).lstrip("_0123456789") or "X"
