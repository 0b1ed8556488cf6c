"""A container's networks and ports as inspect and ps show them."""

from __future__ import annotations

from typing import Any

from ketch.api.versions import Version
from ketch.engine.containers.record import ContainerRecord, Endpoint, PortBinding
from ketch.engine.containers.spec import EndpointSpec


def network_settings(record: ContainerRecord, version: Version) -> dict[str, Any]:
    """``NetworkSettings`` of inspect; the flat members repeat the default bridge's endpoint."""
    state = record.state
    ends = state.endpoints or tuple(_idle(record, end.network) for end in record.spec.endpoints)
    default = next((end for end in ends if end.network == "bridge"), None)
    return {
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": f"/proc/{state.pid}/ns/net" if state.running else "",
        "Ports": ports_json(record),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **_addresses(default or Endpoint(network="", network_id="")),
        "Networks": networks_json(record, version),
    }


def _addresses(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "EndpointID": endpoint.endpoint_id,
        "Gateway": endpoint.gateway,
        "IPAddress": endpoint.ipv4,
        "IPPrefixLen": endpoint.ipv4_prefix,
        "IPv6Gateway": endpoint.ipv6_gateway,
        "GlobalIPv6Address": endpoint.ipv6,
        "GlobalIPv6PrefixLen": endpoint.ipv6_prefix,
        "MacAddress": endpoint.mac,
    }


def ports_json(record: ContainerRecord) -> dict[str, list[dict[str, str]] | None]:
    """``Ports``: exposed but unpublished ones are null; empty unless it runs with an address of its
    own, as with Docker."""
    if not record.state.running or not any(end.ipv4 for end in record.state.endpoints):
        return {}
    found: dict[str, list[dict[str, str]] | None] = dict.fromkeys(record.spec.exposed_ports)
    for binding in record.state.ports:
        key = f"{binding.container_port}/{binding.protocol}"
        rows = found.get(key) or []
        rows.append({"HostIp": binding.host_ip, "HostPort": str(binding.host_port)})
        found[key] = rows
    return found


def networks_json(record: ContainerRecord, version: Version) -> dict[str, Any]:
    """``Networks``: what is, or of one that does not run what was asked."""
    asked = {spec.network: spec for spec in record.spec.endpoints}
    found = {
        end.network: endpoint_json(end, asked.get(end.network), record, version)
        for end in record.state.endpoints
    }
    mode = record.spec.network_mode
    if found or mode.startswith("container:"):
        return found
    names = [mode, *(name for name in asked if name != mode)]
    return {
        name: endpoint_json(_idle(record, name), asked.get(name), record, version) for name in names
    }


def _idle(record: ContainerRecord, name: str) -> Endpoint:
    """The endpoint of a container that does not run; the network has an ID after a start."""
    mac = next((end.mac for end in record.spec.endpoints if end.network == name), "")
    return Endpoint(network=name, network_id=record.state.network_ids.get(name, ""), mac=mac)


def endpoint_json(
    endpoint: Endpoint, asked: EndpointSpec | None, record: ContainerRecord, version: Version
) -> dict[str, Any]:
    """One of ``Networks``."""
    aliases = list(endpoint.aliases or (asked.aliases if asked else ()))
    shown = aliases + _short_id(endpoint, record) if version < (1, 45) else aliases
    found: dict[str, Any] = {
        "IPAMConfig": _ipam(asked),
        "Links": list(asked.links) if asked and asked.links else None,
        "Aliases": shown or None,
        "DriverOpts": (asked.driver_options if asked else None) or None,
        "NetworkID": endpoint.network_id,
        **_addresses(endpoint),
    }
    if version >= (1, 44):
        found["DNSNames"] = _dns_names(endpoint, aliases, record)
    if version >= (1, 48):
        found["GwPriority"] = 0
    return found


def _ipam(asked: EndpointSpec | None) -> dict[str, str] | None:
    if asked is None:
        return None
    found = {"IPv4Address": asked.ipv4, "IPv6Address": asked.ipv6}
    return {name: value for name, value in found.items() if value} or None


def _short_id(endpoint: Endpoint, record: ContainerRecord) -> list[str]:
    """What ``Aliases`` ended with before API 1.45, on networks that users made."""
    return [record.id[:12]] if _has_names(endpoint) else []


def _has_names(endpoint: Endpoint) -> bool:
    return endpoint.network not in ("bridge", "host", "none") and bool(endpoint.network_id)


def _dns_names(endpoint: Endpoint, aliases: list[str], record: ContainerRecord) -> list[str] | None:
    if not _has_names(endpoint):
        return None
    return list(dict.fromkeys((record.name, *aliases, record.id[:12])))


def summary_ports(record: ContainerRecord) -> list[dict[str, Any]]:
    """``Ports`` of ps."""
    if not record.state.running:
        return []
    published = {(port.container_port, port.protocol) for port in record.state.ports}
    rows = [_published(port) for port in record.state.ports]
    for text in record.spec.exposed_ports:
        number, _, protocol = text.partition("/")
        if (int(number), protocol or "tcp") not in published:
            rows.append({"PrivatePort": int(number), "Type": protocol or "tcp"})
    return rows


def _published(port: PortBinding) -> dict[str, Any]:
    return {
        "IP": port.host_ip,
        "PrivatePort": port.container_port,
        "PublicPort": port.host_port,
        "Type": port.protocol,
    }
