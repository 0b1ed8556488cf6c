"""A container as ``inspect`` shows it."""

from __future__ import annotations

import os
from typing import Any

from ketch.api import times
from ketch.api.convert_endpoint import network_settings
from ketch.api.convert_host import host_json
from ketch.api.convert_mounts import points_json
from ketch.api.convert_update import pending_json
from ketch.api.versions import Version
from ketch.engine.containers.health_values import Health, Healthcheck
from ketch.engine.containers.list import ContainerSizes
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.engine.containers.spec import ContainerSpec


def inspect_json(
    record: ContainerRecord,
    version: Version,
    *,
    execs: tuple[str, ...] = (),
    sizes: ContainerSizes | None = None,
    driver: str = "",
) -> dict[str, Any]:
    """The whole document in the shape of ``version``."""
    spec = record.spec
    command = (*(spec.entrypoint or ()), *(spec.cmd or ()))
    started = record.state.started_at > 0
    bundle = record.bundle if started else ""
    found = {
        "Id": record.id,
        "Created": times.rfc3339(record.created_at),
        "Path": command[0] if command else "",
        "Args": list(command[1:]),
        "State": state_json(record),
        "Image": record.image_id,
        "ResolvConfPath": bundle and f"{bundle}/resolv.conf",
        "HostnamePath": bundle and f"{bundle}/hostname",
        "HostsPath": bundle and f"{bundle}/hosts",
        "LogPath": record.log_path if started and spec.log.driver in ("", "json-file") else "",
        "Name": f"/{record.name}",
        "RestartCount": record.state.restart_count,
        "Driver": driver,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": list(execs) or None,
        "HostConfig": host_json(spec, version) | {"Links": _links(record)},
        "GraphDriver": {"Name": driver, "Data": None},
        "Mounts": points_json(record.spec, record.mount_points),
        "Config": config_json(record),
        "NetworkSettings": network_settings(record, version),
    }
    if record.pending is not None:
        found["Ketch"] = pending_json(record.pending)
    if sizes is not None:
        found["SizeRw"], found["SizeRootFs"] = sizes.rw, sizes.root
    return found


def _links(record: ContainerRecord) -> list[str] | None:
    """Docker's way: ``/other:/this/alias``."""
    found = [f"/{link.name}:/{record.name}/{link.alias}" for link in record.links]
    return sorted(found) or None


def state_json(record: ContainerRecord) -> dict[str, Any]:
    """``State``; a paused container counts as running too."""
    state = record.state
    found: dict[str, Any] = {
        "Status": state.status.value,
        "Running": state.running or state.status is Status.RESTARTING,
        "Paused": state.status is Status.PAUSED,
        "Restarting": state.status is Status.RESTARTING,
        "OOMKilled": state.oom_killed,
        "Dead": state.status is Status.DEAD,
        "Pid": state.pid if state.running else 0,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": times.rfc3339(state.started_at),
        "FinishedAt": times.rfc3339(state.finished_at),
    }
    if state.health is not None:
        found["Health"] = health_json(state.health)
    return found


def health_json(health: Health) -> dict[str, Any]:
    """``State.Health``."""
    return {
        "Status": health.status,
        "FailingStreak": health.failing_streak,
        "Log": [
            {
                "Start": times.rfc3339(probe.start),
                "End": times.rfc3339(probe.end),
                "ExitCode": probe.exit_code,
                "Output": probe.output,
            }
            for probe in health.log
        ],
    }


def config_json(record: ContainerRecord) -> dict[str, Any]:
    """``Config``: the request merged with the image; optional members only when they are set."""
    spec = record.spec
    found = {
        "Hostname": spec.hostname or _hostname(record),
        "Domainname": spec.domainname,
        "User": spec.user,
        "AttachStdin": spec.attach_stdin,
        "AttachStdout": spec.attach_stdout,
        "AttachStderr": spec.attach_stderr,
        "Tty": spec.tty,
        "OpenStdin": spec.open_stdin,
        "StdinOnce": spec.stdin_once,
        "Env": list(spec.env) or None,
        "Cmd": None if spec.cmd is None else list(spec.cmd),
        "Image": spec.image,
        "Volumes": {target: {} for target in spec.anonymous_volumes} or None,
        "WorkingDir": spec.working_dir,
        "Entrypoint": None if spec.entrypoint is None else list(spec.entrypoint),
        "OnBuild": None,
        "Labels": spec.labels,
    }
    return found | _optional(spec)


def _optional(spec: ContainerSpec) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if spec.exposed_ports:
        found["ExposedPorts"] = {port: {} for port in spec.exposed_ports}
    mac = next((end.mac for end in spec.endpoints if end.network == spec.network_mode), "")
    if mac:
        found["MacAddress"] = mac
    if spec.network_disabled:
        found["NetworkDisabled"] = True
    if spec.stop_signal:
        found["StopSignal"] = spec.stop_signal
    if spec.stop_timeout is not None:
        found["StopTimeout"] = spec.stop_timeout
    if spec.shell:
        found["Shell"] = list(spec.shell)
    if spec.healthcheck is not None:
        found["Healthcheck"] = healthcheck_json(spec.healthcheck)
    return found


def healthcheck_json(check: Healthcheck) -> dict[str, Any]:
    """``Config.Healthcheck``: zero members are left out."""
    asked = {
        "Test": list(check.test),
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
        "Retries": check.retries,
    }
    return {name: value for name, value in asked.items() if value}


def _hostname(record: ContainerRecord) -> str:
    spec = record.spec
    if spec.network_mode == "host":
        return os.uname().nodename
    return "" if spec.network_mode.startswith("container:") else record.id[:12]
