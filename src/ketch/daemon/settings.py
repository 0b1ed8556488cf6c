"""What a daemon is told: flags and ``daemon.json`` in Docker's words, as one frozen value."""

from __future__ import annotations

from typing import Literal

import msgspec

from ketch.daemon.builder_settings import BuilderSettings


class AddressPool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where networks without a subnet get one: blocks of prefix ``size`` of ``base``."""

    base: str
    size: int


class DefaultUlimit(
    msgspec.Struct, frozen=True, rename="pascal", forbid_unknown_fields=True, kw_only=True
):
    """A limit of containers that name none, as Docker writes it; ``name`` repeats the key."""

    name: str = ""
    soft: int
    hard: int


class RuntimeProgram(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """An external OCI runtime: its program, and arguments that go before all others."""

    path: str
    runtime_args: tuple[str, ...] = ()


class Settings(
    msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True
):
    """Every option; field names in kebab case are the keys of ``daemon.json``. ``builder`` has no
    flag.

    ``bip`` is address and prefix of the default bridge; empty chooses a subnet that is free.
    ``certs_dir`` holds certificates of registries, ``<host>/*.crt``.
    ``hosts`` are ``unix://…``, ``tcp://…`` or ``fd://`` (sockets passed by systemd). What ketch
    can't honour is refused in ``ketch.daemon.config``.
    """

    hosts: tuple[str, ...] = ()
    data_root: str = "/var/lib/ketch"
    exec_root: str = "/run/ketch"
    pidfile: str = ""
    group: str = ""
    bridge: str = "ketch0"
    bip: str = ""
    mtu: int = 1500
    iptables: bool = True
    ip_forward: bool = True
    nft_table: str = "ketch"
    default_address_pools: tuple[AddressPool, ...] = ()
    dns: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    certs_dir: str = "/etc/docker/certs.d"
    max_concurrent_downloads: int = 3
    max_concurrent_uploads: int = 5
    max_download_attempts: int = 5
    log_driver: str = "json-file"
    log_opts: dict[str, str] = {}
    log_level: Literal["debug", "info", "warn", "error", "fatal"] = "info"
    storage_driver: Literal["", "erofs", "directory"] = ""
    cgroup_parent: str = "/ketch"
    runtimes: dict[str, RuntimeProgram] = {}
    default_runtime: str = ""
    labels: tuple[str, ...] = ()
    debug: bool = False
    live_restore: bool = True
    tls: bool = False
    tlsverify: bool = False
    tlscacert: str = ""
    tlscert: str = ""
    tlskey: str = ""
    allow_insecure_tcp: bool = False
    warm_pool: int = 3
    init: bool = False
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    cdi_spec_dirs: tuple[str, ...] = ("/etc/cdi", "/var/run/cdi")
    default_ulimits: dict[str, DefaultUlimit] = {}
    builder: BuilderSettings = BuilderSettings()

    @property
    def pid_path(self) -> str:
        """Where the process ID is written."""
        return self.pidfile or f"{self.exec_root}/ketchd.pid"

    @property
    def listeners(self) -> tuple[str, ...]:
        """The addresses to listen on."""
        return self.hosts or (f"unix://{self.exec_root}/ketch.sock",)


RELOADABLE = frozenset({"debug", "log_level"})
"""Fields that SIGHUP changes; others need a restart."""
