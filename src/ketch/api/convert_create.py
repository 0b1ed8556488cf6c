"""From the body of ``POST /containers/create`` to a ``ContainerSpec``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ketch.api.convert_limits import resources, restart_policy
from ketch.api.convert_mounts import mounts
from ketch.api.refusal import refuse_fields
from ketch.api.schema.container import Config, ContainerCreate, EndpointSettings, Health
from ketch.api.schema.host import Binding, Host, Log
from ketch.engine.containers.health_values import Healthcheck
from ketch.engine.containers.spec import ContainerSpec, EndpointSpec, LogConfig, PortSpec
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterable

_PORT = re.compile(r"(\d{1,5})(?:/(tcp|udp|sctp))?")
_REFUSED_HOST = ("Cgroup",)
_REFUSED_CONFIG = ("ArgsEscaped", "OnBuild")
_LISTS = str.split(
    "Binds VolumesFrom Dns DnsOptions DnsSearch ExtraHosts CapAdd CapDrop GroupAdd SecurityOpt "
    "BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps "
    "BlkioDeviceWriteIOps Devices DeviceCgroupRules DeviceRequests Ulimits"
)
"""Members of ``HostConfig`` whose empty list inspect shows, as opposed to none."""


def container_spec(body: ContainerCreate, platform: str = "") -> ContainerSpec:
    """Raises ``InvalidParameter`` naming what is malformed or not supported."""
    host = body.HostConfig or Host()
    refuse_fields(body, "Config", _REFUSED_CONFIG)
    refuse_fields(host, "HostConfig", _REFUSED_HOST)
    if not body.Image:
        raise InvalidParameter("config cannot be empty in order to create a container")
    network_mode = _network_mode(host.NetworkMode or "")
    return ContainerSpec(
        **_config(body),
        **_namespaces(host),
        **_security(host),
        platform=platform,
        annotations=host.Annotations or {},
        mounts=mounts(host),
        binds=tuple(host.Binds or ()),
        volumes_from=tuple(host.VolumesFrom or ()),
        ports=ports(host.PortBindings),
        publish_all=bool(host.PublishAllPorts),
        network_mode=network_mode,
        network_disabled=bool(body.NetworkDisabled),
        storage_options=host.StorageOpt or {},
        id_file=host.ContainerIDFile or "",
        volume_driver=host.VolumeDriver or "",
        endpoints=_endpoints(body, network_mode),
        dns=tuple(host.Dns or ()),
        dns_search=tuple(host.DnsSearch or ()),
        dns_options=tuple(host.DnsOptions or ()),
        extra_hosts=tuple(host.ExtraHosts or ()),
        links=tuple(host.Links or ()),
        restart=restart_policy(host.RestartPolicy),
        auto_remove=bool(host.AutoRemove),
        log=_log(host.LogConfig),
        cgroup_parent=host.CgroupParent or "",
        runtime=host.Runtime or "",
        isolation=host.Isolation or "",
        init=host.Init,
        shm_size=64 * 1024 * 1024 if not host.ShmSize else host.ShmSize,
        sysctls=host.Sysctls or {},
        oom_score_adj=host.OomScoreAdj or 0,
        resources=resources(host),
        console_size=console_size(host.ConsoleSize),
        empty_lists=tuple(name for name in _LISTS if getattr(host, name) == []),
    )


def config_spec(body: Config) -> ContainerSpec:
    """Only the configuration part, for commit; empty values mean: as the container has it."""
    refuse_fields(body, "Config", _REFUSED_CONFIG)
    return ContainerSpec(**{**_config(body), "image": body.Image or ""})


def _config(body: Config) -> dict[str, Any]:
    return {
        "image": body.Image,
        "cmd": words(body.Cmd),
        "entrypoint": words(body.Entrypoint),
        "env": tuple(body.Env or ()),
        "labels": body.Labels or {},
        "user": body.User or "",
        "working_dir": body.WorkingDir or "",
        "hostname": body.Hostname or "",
        "domainname": body.Domainname or "",
        "tty": bool(body.Tty),
        "open_stdin": bool(body.OpenStdin),
        "stdin_once": bool(body.StdinOnce),
        "attach_stdin": bool(body.AttachStdin),
        "attach_stdout": bool(body.AttachStdout),
        "attach_stderr": bool(body.AttachStderr),
        "exposed_ports": tuple(_exposed(body.ExposedPorts or ())),
        "anonymous_volumes": tuple(body.Volumes or ()),
        "healthcheck": _healthcheck(body.Healthcheck),
        "stop_signal": body.StopSignal or "",
        "stop_timeout": body.StopTimeout,
        "shell": words(body.Shell) or (),
    }


def _namespaces(host: Host) -> dict[str, Any]:
    return {
        "pid_mode": host.PidMode or "",
        "ipc_mode": host.IpcMode or "private",
        "uts_mode": host.UTSMode or "",
        "cgroupns_mode": host.CgroupnsMode or "",
        "userns_mode": host.UsernsMode or "",
    }


def _security(host: Host) -> dict[str, Any]:
    return {
        "cap_add": tuple(host.CapAdd or ()),
        "cap_drop": tuple(host.CapDrop or ()),
        "privileged": bool(host.Privileged),
        "security_options": tuple(host.SecurityOpt or ()),
        "masked_paths": _optional(host.MaskedPaths),
        "readonly_paths": _optional(host.ReadonlyPaths),
        "read_only_rootfs": bool(host.ReadonlyRootfs),
        "group_add": tuple(host.GroupAdd or ()),
    }


def words(value: str | list[str] | None) -> tuple[str, ...] | None:
    """Docker's string slice: one string is a list of one."""
    if value is None:
        return None
    return (value,) if isinstance(value, str) else tuple(value)


def _optional(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def console_size(size: list[int] | None) -> tuple[int, int]:
    """Height and width in characters; nothing, or two numbers of 16 bits."""
    if not size:
        return (0, 0)
    if len(size) != 2 or not all(0 <= number <= 0xFFFF for number in size):
        raise InvalidParameter(f"invalid ConsoleSize {size}: it is [height, width]")
    return (size[0], size[1])


def _healthcheck(health: Health | None) -> Healthcheck | None:
    if health is None:
        return None
    return Healthcheck(
        test=tuple(health.Test or ()),
        interval=health.Interval or 0,
        timeout=health.Timeout or 0,
        start_period=health.StartPeriod or 0,
        start_interval=health.StartInterval or 0,
        retries=health.Retries or 0,
    )


def _log(log: Log | None) -> LogConfig:
    """An empty driver is left to the engine's default."""
    if log is None:
        return LogConfig(driver="")
    return LogConfig(driver=log.Type or "", options=log.Config or {})


def port(text: str) -> tuple[int, str]:
    """``80/tcp`` or ``80`` to number and protocol."""
    match = _PORT.fullmatch(text)
    if match is None or not 0 < int(match[1]) < 65536:
        raise InvalidParameter(f"invalid port specification: {text!r}")
    return int(match[1]), match[2] or "tcp"


def _exposed(texts: Iterable[str]) -> Iterable[str]:
    for text in texts:
        if "-" not in text:
            yield "{}/{}".format(*port(text))
            continue
        numbers, _, protocol = text.partition("/")
        first, last = (port(f"{number}/{protocol or 'tcp'}") for number in numbers.split("-", 1))
        for number in range(first[0], last[0] + 1):
            yield f"{number}/{first[1]}"


def ports(bindings: dict[str, list[Binding] | None] | None) -> tuple[PortSpec, ...]:
    """``PortBindings``: what to publish."""
    found = []
    for text, asked in (bindings or {}).items():
        number, protocol = port(text)
        for binding in asked or ():
            found.append(
                PortSpec(
                    container_port=number,
                    protocol=protocol,
                    host_ip=binding.HostIp or "",
                    host_port=binding.HostPort or "",
                )
            )
    return tuple(found)


def _network_mode(mode: str) -> str:
    return "bridge" if mode in ("", "default") else mode


def _endpoints(body: ContainerCreate, network_mode: str) -> tuple[EndpointSpec, ...]:
    asked = (body.NetworkingConfig and body.NetworkingConfig.EndpointsConfig) or {}
    found = {
        _network_mode(name): settings or EndpointSettings() for name, settings in asked.items()
    }
    if body.MacAddress:
        first = found.setdefault(network_mode, EndpointSettings())
        first.MacAddress = first.MacAddress or body.MacAddress
    return tuple(endpoint(name, settings) for name, settings in found.items())


def endpoint(network: str, settings: EndpointSettings) -> EndpointSpec:
    """How to join ``network``."""
    addresses = settings.IPAMConfig
    refuse_fields(settings, "EndpointSettings", ("Links", "DriverOpts", "GwPriority"))
    if addresses is not None:
        refuse_fields(addresses, "IPAMConfig", ("LinkLocalIPs",))
    return EndpointSpec(
        network=network,
        ipv4=(addresses and addresses.IPv4Address) or "",
        ipv6=(addresses and addresses.IPv6Address) or "",
        mac=settings.MacAddress or "",
        aliases=tuple(settings.Aliases or ()),
    )
