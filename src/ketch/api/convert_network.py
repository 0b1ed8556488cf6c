"""Networks: from create bodies to specifications, and to Docker's JSON."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from ketch.api.refusal import refuse_fields, refused
from ketch.api.schema.network import Ipam, NetworkCreate, Pool
from ketch.api.times import rfc3339
from ketch.engine.networks.values import Member, NetworkRecord, NetworkSpec
from ketch.errors import InvalidParameter

_REFUSED = ("Ingress", "ConfigOnly", "ConfigFrom")


def network_spec(body: NetworkCreate) -> NetworkSpec:
    """Raises ``InvalidParameter`` naming what is malformed or not supported."""
    if not body.Name:
        raise InvalidParameter("invalid name: name is empty")
    refuse_fields(body, "NetworkCreate", _REFUSED)
    if body.Scope not in (None, "", "local"):
        raise refused(f"NetworkCreate.Scope {body.Scope!r}")
    if body.EnableIPv4 is False:
        raise refused("NetworkCreate.EnableIPv4 false")
    return NetworkSpec(
        name=body.Name,
        driver=body.Driver or "bridge",
        internal=bool(body.Internal),
        attachable=bool(body.Attachable),
        enable_ipv6=bool(body.EnableIPv6),
        **_addresses(body.IPAM),
        options=body.Options or {},
        labels=body.Labels or {},
    )


def _addresses(ipam: Ipam | None) -> dict[str, Any]:
    if ipam is None:
        return {}
    if ipam.Driver not in (None, "", "default"):
        raise refused(f"IPAM.Driver {ipam.Driver!r}")
    refuse_fields(ipam, "IPAM", ("Options",))
    pools = [pool for pool in ipam.Config or () if pool.Subnet or pool.Gateway or pool.IPRange]
    if not pools:
        return {}
    return {
        "subnets": tuple(_subnet(pool) for pool in pools),
        "ip_range": str(_network("ip-range", pools[0].IPRange)) if pools[0].IPRange else "",
        "reserved": pools[0].AuxiliaryAddresses or pools[0].AuxAddress or {},
    }


def _subnet(pool: Pool) -> tuple[str, str]:
    network = _network("subnet", pool.Subnet or "")
    try:
        gateway = ipaddress.ip_address(pool.Gateway) if pool.Gateway else None
    except ValueError as error:
        raise InvalidParameter(f"invalid network config: {error}") from None
    if gateway is not None and gateway not in network:
        raise InvalidParameter(
            f"invalid network config: the gateway {gateway} is not in the subnet {network}"
        )
    return str(network), str(gateway or "")


def _network(what: str, text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A subnet in the form that a subnet has; raises in Docker's words."""
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InvalidParameter(
            f"invalid network config:\ninvalid {what} {text}: invalid CIDR block notation"
        ) from None
    if text.partition("/")[0] != str(found.network_address):
        raise InvalidParameter(
            f"invalid network config:\ninvalid {what} {text}: it should be {found}"
        )
    return found


def network_json(network: NetworkRecord, members: Iterable[Member] = ()) -> dict[str, Any]:
    """One network, of list and inspect."""
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created_at),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": True,
        "EnableIPv6": network.enable_ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": None,
            "Config": [_pool_json(*pair, network) for pair in network.subnets] or None,
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {member.container_id: _member_json(member) for member in members},
        "Options": network.options,
        "Labels": network.labels,
    }


def _pool_json(subnet: str, gateway: str, network: NetworkRecord) -> dict[str, Any]:
    optional = {
        "IPRange": network.ip_range,
        "Gateway": gateway,
        "AuxiliaryAddresses": network.reserved,
    }
    return {"Subnet": subnet} | {name: value for name, value in optional.items() if value}


def _member_json(member: Member) -> dict[str, str]:
    endpoint = member.endpoint
    return {
        "Name": member.name,
        "EndpointID": endpoint.endpoint_id,
        "MacAddress": endpoint.mac,
        "IPv4Address": f"{endpoint.ipv4}/{endpoint.ipv4_prefix}" if endpoint.ipv4 else "",
        "IPv6Address": f"{endpoint.ipv6}/{endpoint.ipv6_prefix}" if endpoint.ipv6 else "",
    }
