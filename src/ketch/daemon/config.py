"""Reading the configuration: ``daemon.json``, then flags, then checks that need no kernel.

An option may be given in the file or as a flag, not in both, as with Docker: which of two should
win is a question that nobody should have to ask.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

import msgspec

from ketch.daemon import builder_settings
from ketch.daemon.settings import Settings
from ketch.engine.containers import log_options, runtimes
from ketch.engine.containers.cgroup import absolute
from ketch.engine.containers.limits import Ulimit
from ketch.engine.containers.spec import LogConfig
from ketch.engine.spec import limits as spec_limits
from ketch.errors import InvalidParameter, KetchError, errno_text

DEFAULT_FILE = "/etc/ketch/daemon.json"
_LIMIT = 1024 * 1024


def load(path: str, flags: Mapping[str, Any], *, required: bool) -> Settings:
    """Settings of a file (which may be missing unless ``required``) and of flags.

    Raises ``InvalidParameter`` naming the key that is unknown, malformed, or given twice.
    """
    members = _read(path, required=required)
    for key in flags:
        if key in members:
            raise InvalidParameter(f"{key} is given both as a flag and in {path}: use one of them")
    if "builder" in members:
        members = {**members, "builder": builder_settings.lowered(members["builder"])}
    try:
        settings = msgspec.convert({**members, **flags}, Settings)
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"{_where(path, members)}{_explain(error)}") from None
    check(settings)
    return msgspec.structs.replace(settings, cgroup_parent=absolute(settings.cgroup_parent))


def _where(path: str, members: Mapping[str, Any]) -> str:
    return f"{path}: " if members else ""


def _explain(error: msgspec.ValidationError) -> str:
    text = str(error)
    match = re.search(r"unknown field `([^`]*)`", text)
    if match is not None:
        return f"unknown key {match[1]!r}: see ketchd --help for the keys there are"
    match = re.fullmatch(r"Invalid enum value (.*) - at `\$\.([a-z-]*)`", text)
    if match is not None:
        known = " or ".join(word for word in _words(match[2]) if word)
        return f"{match[2]}: {match[1]} is not one of its values: {known}"
    return text.replace("$.", "")


def _words(key: str) -> tuple[str, ...]:
    """The values that a key with a few words for values takes."""
    (found,) = (field for field in msgspec.structs.fields(Settings) if field.encode_name == key)
    return get_args(found.type)


def _read(path: str, *, required: bool) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read(_LIMIT + 1)
    except FileNotFoundError:
        if required:
            raise InvalidParameter(f"the configuration file {path} does not exist") from None
        return {}
    except OSError as error:
        raise InvalidParameter(f"{path} can't be read: {errno_text(error)}") from None
    if len(data) > _LIMIT:
        raise InvalidParameter(f"{path} is larger than {_LIMIT} bytes")
    if not data.strip():
        return {}
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidParameter(f"{path} is not a JSON object: {error}") from None


def check(settings: Settings) -> None:
    """Raise ``InvalidParameter`` for values that make no sense or can't be honoured."""
    for rule in _RULES:
        rule(settings)


def _roots(settings: Settings) -> None:
    for key, path in (("data-root", settings.data_root), ("exec-root", settings.exec_root)):
        if not os.path.isabs(path) or "\0" in path:
            raise InvalidParameter(f"{key}: {path!r} is not an absolute path")
    for path in settings.cdi_spec_dirs:
        if not os.path.isabs(path) or "\0" in path:
            raise InvalidParameter(f"cdi-spec-dirs: {path!r} is not an absolute path")
    if len(f"{settings.exec_root}/shims/{'0' * 32}.sock") > 107:
        raise InvalidParameter(
            f"exec-root: {settings.exec_root!r} is too long; sockets below it may have at most 107 "
            "bytes (unix(7))"
        )


def _cgroup_parent(settings: Settings) -> None:
    parts = [part for part in settings.cgroup_parent.split("/") if part]
    if not parts or {".", ".."} & set(parts) or "\0" in settings.cgroup_parent:
        raise InvalidParameter(
            f"cgroup-parent: {settings.cgroup_parent!r} is no control group below the root: write "
            "a path such as /ketch"
        )


def _live_restore(settings: Settings) -> None:
    if not settings.live_restore:
        raise InvalidParameter(
            "live-restore: false is not supported: containers always outlive the daemon"
        )


def _networks(settings: Settings) -> None:
    try:
        ipaddress.IPv4Interface(settings.bip or "0.0.0.0/0")
    except ValueError:
        raise InvalidParameter(f"bip: {settings.bip!r} is no address with a prefix") from None
    if not 1 <= len(settings.bridge.encode()) <= 15 or "/" in settings.bridge:
        raise InvalidParameter(f"bridge: {settings.bridge!r} is no interface name")
    if not 68 <= settings.mtu <= 65535:
        raise InvalidParameter(f"mtu: {settings.mtu} is not between 68 and 65535")
    for pool in settings.default_address_pools:
        _pool(pool.base, pool.size)
    if not settings.iptables or not settings.ip_forward:
        raise InvalidParameter("iptables and ip-forward: false is not supported by ketch")


def _pool(base: str, size: int) -> None:
    try:
        network = ipaddress.ip_network(base)
    except ValueError:
        raise InvalidParameter(f"default-address-pools: {base!r} is no network") from None
    if not network.prefixlen <= size <= network.max_prefixlen:
        raise InvalidParameter(f"default-address-pools: size {size} does not fit into {base}")


def _logging(settings: Settings) -> None:
    try:
        log_options.check(log_config(settings))
    except KetchError as error:
        raise InvalidParameter(f"log-driver and log-opts: {error}") from None


def log_config(settings: Settings) -> LogConfig:
    """The log driver of containers that name none, and its options."""
    return LogConfig(driver=settings.log_driver, options=settings.log_opts)


def _labels(settings: Settings) -> None:
    for label in settings.labels:
        if not label.partition("=")[1]:
            raise InvalidParameter(f"labels: {label!r} is not of the form key=value")


def default_ulimits(settings: Settings) -> tuple[Ulimit, ...]:
    """``default-ulimits`` as the engine has them."""
    return tuple(
        Ulimit(name=name, soft=limit.soft, hard=limit.hard)
        for name, limit in settings.default_ulimits.items()
    )


def _ulimits(settings: Settings) -> None:
    for name, limit in settings.default_ulimits.items():
        if limit.name not in ("", name):
            raise InvalidParameter(f"default-ulimits: {name!r} is named {limit.name!r} inside")
    try:
        spec_limits.check_ulimits(default_ulimits(settings))
    except InvalidParameter as error:
        raise InvalidParameter(f"default-ulimits: {error}") from None


def _listeners(settings: Settings) -> None:
    for host in settings.listeners:
        scheme, _, rest = host.partition("://")
        if scheme not in ("unix", "tcp", "fd"):
            raise InvalidParameter(f"hosts: {host!r} is none of unix://, tcp:// and fd://")
        if scheme == "unix" and not os.path.isabs(rest):
            raise InvalidParameter(f"hosts: {host!r} needs an absolute path")
        if scheme == "tcp":
            _tcp(settings, host, rest)


def _tcp(settings: Settings, host: str, rest: str) -> None:
    name, _, port = rest.rpartition(":")
    if not name or not port.isdigit() or int(port) > 65535:
        raise InvalidParameter(f"hosts: {host!r} needs an address and a port")
    if settings.tlsverify:
        for key in ("tlscacert", "tlscert", "tlskey"):
            if not getattr(settings, key):
                raise InvalidParameter(f"tlsverify needs {key}")
        return
    if not settings.allow_insecure_tcp:
        raise InvalidParameter(
            f"hosts: {host!r} without tlsverify would give root on this machine to everyone who "
            "can reach it; set tlsverify with certificates, or allow-insecure-tcp if that is meant"
        )


def _runtimes(settings: Settings) -> None:
    runtimes.check(programs(settings), settings.default_runtime)


def programs(settings: Settings) -> dict[str, runtimes.Program]:
    """The external runtimes, as the engine takes them."""
    return {
        name: runtimes.Program(path=given.path, args=given.runtime_args)
        for name, given in settings.runtimes.items()
    }


def _numbers(settings: Settings) -> None:
    for key in ("max_concurrent_downloads", "max_concurrent_uploads", "max_download_attempts"):
        if not 1 <= getattr(settings, key) <= 100:
            raise InvalidParameter(f"{key.replace('_', '-')}: it is between 1 and 100")
    if not 0 <= settings.warm_pool <= 64:
        raise InvalidParameter("warm-pool: it is between 0 and 64")
    period, runtime = settings.cpu_rt_period, settings.cpu_rt_runtime
    if not 0 <= period <= 1_000_000 or runtime < 0 or (period or 1_000_000) < runtime:
        raise InvalidParameter(
            "cpu-rt-runtime: it is between 0 and cpu-rt-period, which is 1000000 at most"
        )
    if settings.tls and not settings.tlsverify:
        raise InvalidParameter("tls: without tlsverify clients are not checked; use tlsverify")


def _builder(settings: Settings) -> None:
    builder_settings.collection(settings.builder)


_RULES: tuple[Callable[[Settings], None], ...] = (
    _roots,
    _cgroup_parent,
    _live_restore,
    _networks,
    _logging,
    _labels,
    _ulimits,
    _listeners,
    _numbers,
    _runtimes,
    _builder,
)
