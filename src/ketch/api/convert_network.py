"""Networks in Docker's shape, and from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ketch.api.refusal import refuse_fields
from ketch.api.schema.network import Ipam, NetworkCreate, Pool
from ketch.api.times import rfc3339
from ketch.api.versions import Version
from ketch.engine.model import NetworkRecord
from ketch.engine.network_values import Member, NetworkSpec
from ketch.errors import InvalidParameter


def network_json(
    network: NetworkRecord, version: Version, members: Iterable[Member] = ()
) -> dict[str, Any]:
    """One network, of list and inspect."""
    config = [{"Subnet": subnet, "Gateway": gateway} for subnet, gateway in network.subnets]
    found: dict[str, Any] = {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created_at),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv6": network.enable_ipv6,
        "IPAM": {"Driver": "default", "Options": None, "Config": config},
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {member.container_id: _member(member) for member in members},
        "Options": network.options,
        "Labels": network.labels,
    }
    if version >= (1, 48):
        found["EnableIPv4"] = True
    return found


def _member(member: Member) -> dict[str, str]:
    end = member.endpoint
    return {
        "Name": member.name,
        "EndpointID": end.endpoint_id,
        "MacAddress": end.mac,
        "IPv4Address": f"{end.ipv4}/{end.ipv4_prefix}" if end.ipv4 else "",
        "IPv6Address": "",
    }


def network_spec(body: NetworkCreate) -> NetworkSpec:
    """What ``POST /networks/create`` asks for; what is not supported is refused by name."""
    if not body.Name:
        raise InvalidParameter("a network needs a Name")
    refuse_fields(body, "NetworkCreate", ("ConfigOnly", "Ingress", "ConfigFrom"))
    if body.EnableIPv4 is False:
        raise InvalidParameter("EnableIPv4=false: networks without IPv4 are not supported")
    if body.Scope not in (None, "", "local"):
        raise InvalidParameter(f"the network scope {body.Scope} is not supported: use local")
    return NetworkSpec(
        name=body.Name,
        driver=body.Driver or "bridge",
        internal=bool(body.Internal),
        attachable=bool(body.Attachable),
        enable_ipv6=bool(body.EnableIPv6),
        subnets=_subnets(body.IPAM),
        options=dict(body.Options or {}),
        labels=dict(body.Labels or {}),
    )


def _subnets(ipam: Ipam | None) -> tuple[tuple[str, str], ...]:
    if ipam is None:
        return ()
    if ipam.Driver not in (None, "", "default"):
        raise InvalidParameter(f"the IPAM driver {ipam.Driver} is not supported: use default")
    refuse_fields(ipam, "IPAM", ("Options",))
    return tuple(_pool(pool) for pool in ipam.Config or ())


def _pool(pool: Pool) -> tuple[str, str]:
    refuse_fields(pool, "IPAM.Config", ("IPRange", "AuxiliaryAddresses", "AuxAddress"))
    if not pool.Subnet:
        raise InvalidParameter("IPAM.Config needs a Subnet")
    return pool.Subnet, pool.Gateway or ""
