"""/etc/hostname, /etc/hosts and /etc/resolv.conf of a container, written at each start.

A container that shares another's network namespace mounts that one's files (``containers.place``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ketch.engine.storing import storing
from ketch.network import files

if TYPE_CHECKING:
    from ketch.engine.containers.record import ContainerRecord, Endpoint

Names = tuple[str, Sequence[tuple[str, str]]]
_HOST_RESOLVER = "/etc/resolv.conf"
_HOST_HOSTS = "/etc/hosts"


def write(
    record: ContainerRecord, known: Names, endpoints: Sequence[Endpoint], dns: tuple[str, ...]
) -> None:
    """Write the three files into the bundle; ``dns`` are the daemon's nameservers.

    ``known`` is the hostname, and (address, names) of linked containers.
    Raises ``InvalidParameter`` for a bad ``--add-host``.
    """
    os.makedirs(record.bundle, mode=0o710, exist_ok=True)
    hostname, linked = known
    domain = record.spec.domainname
    names = [f"{hostname}.{domain}" if domain else "", hostname]
    texts = {
        "hostname": f"{hostname}\n",
        "hosts": _hosts(record, names, endpoints) + files.entries(linked),
        "resolv.conf": _resolv_conf(record, dns),
    }
    for name, text in texts.items():
        path = f"{record.bundle}/{name}"
        with storing(path), open(path, "w", encoding="utf-8") as file:
            file.write(text)


def _hosts(record: ContainerRecord, names: list[str], endpoints: Sequence[Endpoint]) -> str:
    extra = record.spec.extra_hosts
    if record.spec.network_mode == "host":
        return _read(_HOST_HOSTS) + files.extra_hosts(extra, "127.0.0.1")
    addresses = [endpoint.ipv4 for endpoint in endpoints if endpoint.ipv4]
    gateway = next((endpoint.gateway for endpoint in endpoints if endpoint.gateway), "")
    return files.hosts(names, addresses, extra, gateway)


def _resolv_conf(record: ContainerRecord, dns: tuple[str, ...]) -> str:
    spec = record.spec
    asked = files.Resolver(spec.dns or dns, spec.dns_search, spec.dns_options)
    own = spec.network_mode != "host"
    return files.resolv_conf(_read(_HOST_RESOLVER), asked, own_namespace=own)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
