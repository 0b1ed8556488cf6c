"""Checks of a container specification before anything is made (pure but for the machine's facts).

What Docker's clients match on keeps Docker's words. What ketch does not do is refused here, by
the name of its option, with ``Unsupported``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

from ketch.engine.containers import health_spec, log_options
from ketch.engine.containers import links as container_links
from ketch.engine.containers import signals as container_signals
from ketch.engine.containers.spec import ContainerSpec, EndpointSpec, LogConfig, RestartPolicy
from ketch.engine.spec import kernel as spec_kernel
from ketch.engine.spec import kernel_strings as spec_kernel_strings
from ketch.engine.spec import limits as spec_limits
from ketch.engine.spec import names as spec_names
from ketch.engine.spec import security as spec_security
from ketch.engine.spec import sysctls as spec_sysctls
from ketch.errors import InvalidParameter, Unsupported
from ketch.network import ports

RESTART_POLICIES = ("no", "always", "on-failure", "unless-stopped")
_TMPFS_FLAGS = frozenset(
    str.split(
        "ro rw suid nosuid dev nodev exec noexec atime noatime diratime nodiratime relatime "
        "norelatime strictatime nostrictatime symfollow nosymfollow defaults private rprivate "
        "slave rslave shared rshared unbindable runbindable inode32 inode64 noswap"
    )
)
_TMPFS_VALUES = frozenset(str.split("size nr_blocks nr_inodes mode uid gid mpol huge"))
_PREDEFINED = ("bridge", "host", "none")
_MODE = re.compile(r"container:\S+\Z")
_MAC = re.compile("[0-9a-f][02468ace](:[0-9a-f]{2}){5}", re.IGNORECASE)  # no group address


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks need to know of the machine and the engine."""

    cpus: int
    capabilities: frozenset[str]  # names with CAP_
    unified_cgroups: bool = False  # cgroup v2 alone
    kernel: spec_kernel.Kernel = spec_kernel.Kernel()
    hard_limits: dict[str, int] | None = None  # of this process, where it cannot raise them


def validate(spec: ContainerSpec, facts: Facts) -> tuple[str, ...]:
    """Raise ``InvalidParameter`` or ``Unsupported``, or return the warnings."""
    for check in _CHECKS:
        check(spec, facts)
    return tuple(_warnings(spec, facts))


def _warnings(spec: ContainerSpec, facts: Facts) -> Iterator[str]:
    if spec.network_mode == "host" and (spec.ports or spec.publish_all):
        yield "Published ports are discarded when using host network mode"
    if spec.resources.oom_kill_disable and not spec.resources.memory:
        yield (
            "OOM killer is disabled for the container, but no memory limit is set, this can "
            "result in the system running out of resources."
        )
    if facts.hard_limits is not None:
        yield from spec_kernel.beyond_this_process(spec, facts.hard_limits)


def _restart(spec: ContainerSpec, facts: Facts) -> None:
    check_restart(spec.restart)
    if spec.auto_remove and spec.restart.name not in ("", "no"):
        raise InvalidParameter("can't create 'AutoRemove' container with restart policy")


def check_restart(policy: RestartPolicy) -> None:
    """Raise ``InvalidParameter`` for a restart policy that makes no sense."""
    name = policy.name or "no"
    if name not in RESTART_POLICIES:
        raise InvalidParameter(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', "
            "'on-failure', or 'unless-stopped'"
        )
    if policy.max_retries < 0:
        raise InvalidParameter("invalid restart policy: maximum retry count cannot be negative")
    if policy.max_retries and name != "on-failure":
        raise InvalidParameter(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        )


def _stop(spec: ContainerSpec, facts: Facts) -> None:
    if spec.stop_signal:
        container_signals.parse(spec.stop_signal)


def _health(spec: ContainerSpec, facts: Facts) -> None:
    health_spec.check(spec)


def _paths(spec: ContainerSpec, facts: Facts) -> None:
    if spec.working_dir and not spec.working_dir.startswith("/"):
        raise InvalidParameter(
            f"the working directory '{spec.working_dir}' is invalid, it needs to be an "
            "absolute path"
        )
    for mount in spec.mounts:
        if "\0" in mount.source:
            raise InvalidParameter(f"invalid mount: {mount.source!r} at {mount.target!r}")
        if not mount.target.startswith("/"):
            raise InvalidParameter(
                f'invalid mount config for type "{mount.type}": invalid mount path: '
                f"'{mount.target}' mount path must be absolute"
            )
        for option in mount.tmpfs_options:
            _check_tmpfs_option(option)
    _no_duplicate_targets(spec)


def _check_tmpfs_option(option: str) -> None:
    """tmpfs(5); a flag has no value, and the others have one."""
    key, equals, value = option.partition("=")
    if not (key in _TMPFS_VALUES if equals else key in _TMPFS_FLAGS):
        shown = f'"{key}" "{value}"' if equals else f'"{key}"'
        raise InvalidParameter(f"invalid tmpfs option [{shown}]")


def _no_duplicate_targets(spec: ContainerSpec) -> None:
    seen = set()
    for mount in spec.mounts:
        target = mount.target.rstrip("/")
        if not target:
            raise InvalidParameter(
                f"invalid volume specification: '{mount.source}:{mount.target}': "
                "invalid specification: destination can't be '/'"
            )
        if target in seen:
            raise InvalidParameter(f"Duplicate mount point: {mount.target}")
        seen.add(target)


def _capabilities(spec: ContainerSpec, facts: Facts) -> None:
    for field, names in (("CapAdd", spec.cap_add), ("CapDrop", spec.cap_drop)):
        for name in names:
            full = name.upper()
            full = full if full.startswith("CAP_") or full == "ALL" else f"CAP_{full}"
            if full not in ("ALL", "CAP_ALL") and full not in facts.capabilities:
                raise InvalidParameter(f'invalid {field}: unknown capability: "{full}"')


def _namespaces(spec: ContainerSpec, facts: Facts) -> None:
    allowed = (
        ("PID", spec.pid_mode, ("", "host"), True),
        ("IPC", spec.ipc_mode, ("", "private", "shareable", "host", "none"), True),
        ("UTS", spec.uts_mode, ("", "host"), False),
        ("cgroup namespace", spec.cgroupns_mode, ("", "private", "host"), False),
        ("user namespace", spec.userns_mode, ("", "host"), False),
    )
    for name, value, words, by_container in allowed:
        if value not in words and not (by_container and _MODE.match(value)):
            raise InvalidParameter(f"invalid {name} mode: {value}")
    if spec.uts_mode == "host" and spec.hostname:
        raise InvalidParameter("conflicting options: hostname and the UTS mode")
    if spec.network_mode.startswith("container:") and spec.hostname:
        raise InvalidParameter("conflicting options: hostname and the network mode")


def check_asked(spec: ContainerSpec) -> None:
    """Check what only a request can get wrong, before the image's defaults are joined to it."""
    if spec.network_mode.startswith("container:") and spec.exposed_ports:
        raise InvalidParameter(
            "conflicting options: port exposing and the container type network mode"
        )


def _network(spec: ContainerSpec, facts: Facts) -> None:
    joins = spec.network_mode.startswith("container:")
    if spec.network_disabled and (joins or spec.network_mode == "host"):
        raise InvalidParameter("conflicting options: NetworkDisabled and a shared network")
    if joins and not _MODE.match(spec.network_mode):
        raise InvalidParameter("invalid network mode: invalid container format container:<name|id>")
    if joins and (spec.ports or spec.publish_all):
        raise InvalidParameter(
            "conflicting options: port publishing and the container type network mode"
        )
    if joins and (spec.dns or spec.extra_hosts):
        raise InvalidParameter(
            "conflicting options: dns or add-host and the container type network mode"
        )
    for endpoint in spec.endpoints:
        _check_predefined(endpoint)
        if endpoint.links:
            raise Unsupported("legacy links (--link) are not supported by ketch: use a network")
        if endpoint.driver_options:
            option = sorted(endpoint.driver_options)[0]
            raise Unsupported(f"endpoint driver option '{option}' is not supported by ketch")
        if endpoint.mac and not _MAC.fullmatch(endpoint.mac):
            raise InvalidParameter(f"invalid MAC address: {endpoint.mac!r}")
    for port in spec.ports:
        ports.check(port.host_ip, port.host_port)
        if not 1 <= port.container_port <= 65535 or port.protocol not in ("tcp", "udp", "sctp"):
            raise InvalidParameter(f"invalid port: {port.container_port}/{port.protocol}")


def _check_predefined(endpoint: EndpointSpec) -> None:
    """What only users' own networks have, in Docker's words."""
    if endpoint.network not in _PREDEFINED:
        return
    problems = []
    if endpoint.aliases:
        problems.append(
            "network-scoped alias is supported only for containers in user defined networks"
        )
    if endpoint.ipv4 or endpoint.ipv6:
        problems.append("user specified IP address is supported on user defined networks only")
        problems.append(
            "user specified IP address is supported only when connecting to networks with user "
            "configured subnets"
        )
    if problems:
        listed = problems[0] if len(problems) == 1 else "* " + "\n* ".join(problems)
        raise InvalidParameter(
            f"invalid config for network {endpoint.network}: invalid endpoint settings:\n{listed}"
        )


def _names(spec: ContainerSpec, facts: Facts) -> None:
    spec_names.check(spec)


def _kernel_strings(spec: ContainerSpec, facts: Facts) -> None:
    spec_kernel_strings.check(spec)


def _links(spec: ContainerSpec, facts: Facts) -> None:
    container_links.check(spec)


def _logging(spec: ContainerSpec, facts: Facts) -> None:
    log_options.check(log_options.completed(spec.log, LogConfig()))


def _security(spec: ContainerSpec, facts: Facts) -> None:
    spec_security.check(spec, facts.unified_cgroups)


def _limits(spec: ContainerSpec, facts: Facts) -> None:
    if spec.shm_size < 0:
        raise InvalidParameter("SHM size can not be less than 0")
    if not -1000 <= spec.oom_score_adj <= 1000:
        raise InvalidParameter(
            f"Invalid value {spec.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
    spec_limits.check(spec.resources, facts.cpus, facts.kernel)


def _sysctls(spec: ContainerSpec, facts: Facts) -> None:
    spec_sysctls.check(spec)


def _storage(spec: ContainerSpec, facts: Facts) -> None:
    for name in spec.storage_options:
        if name != "size":
            raise InvalidParameter(f"unknown storage option {name!r}: there is size")
        raise InvalidParameter(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option: "
            "ketch sets no quotas on writable layers"
        )


def _platform(spec: ContainerSpec, facts: Facts) -> None:
    if spec.isolation not in ("", "default"):
        raise InvalidParameter(
            f"invalid isolation ({spec.isolation}): linux only supports 'default'"
        )
    if spec.cgroup_parent and ".." in spec.cgroup_parent.split("/"):
        raise InvalidParameter(f"invalid cgroup parent: {spec.cgroup_parent}")


_CHECKS: tuple[Callable[[ContainerSpec, Facts], None], ...] = (
    _restart,
    _stop,
    _health,
    _kernel_strings,
    _paths,
    _capabilities,
    _namespaces,
    _network,
    _names,
    _links,
    _logging,
    _security,
    _limits,
    _sysctls,
    _storage,
    _platform,
)
