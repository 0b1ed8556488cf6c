"""The files hostname, hosts and resolv.conf that are mounted below a container's /etc."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ketch.engine.model import ContainerRecord, Endpoint
from ketch.network import files


def write(
    record: ContainerRecord, hostname: str, endpoints: Sequence[Endpoint], dns: tuple[str, ...]
) -> None:
    """Write them into the bundle, anew for each start; ``dns`` is the daemon's choice.

    They need not survive a crash, so nothing is synced. Raises OSError, ``InvalidParameter``.
    """
    spec = record.spec
    gateway = next((point.gateway for point in endpoints if point.gateway), "")
    addresses = [address for point in endpoints for address in (point.ipv4, point.ipv6) if address]
    full = f"{hostname}.{spec.domainname}" if spec.domainname else ""
    hosts = files.hosts((full, hostname), addresses, spec.extra_hosts, gateway)
    if spec.network_mode == "host":
        hosts = _host_file("/etc/hosts") + _only_extra(hosts)
    resolver = files.Resolver(spec.dns or dns, spec.dns_search, spec.dns_options)
    text = files.resolv_conf(
        _host_file("/etc/resolv.conf"), resolver, own_namespace=spec.network_mode != "host"
    )
    _put(f"{record.bundle}/hostname", f"{hostname}\n")
    _put(f"{record.bundle}/hosts", hosts)
    _put(f"{record.bundle}/resolv.conf", text)


def _only_extra(hosts: str) -> str:
    """What ``--add-host`` asked for: the host's own file has the local names already."""
    local = files.hosts((), (), ())
    return hosts.removeprefix(local)


def _host_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _put(path: str, text: str) -> None:
    """Write in place: a running container may have the inode mounted."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
