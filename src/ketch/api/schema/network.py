"""Bodies of the network routes."""

from __future__ import annotations

from typing import Any

from ketch.api.schema import Body, Map
from ketch.api.schema.container import EndpointSettings


class Pool(Body):
    """``IPAMConfig``."""

    Subnet: str | None = None
    IPRange: str | None = None
    Gateway: str | None = None
    AuxiliaryAddresses: Map = None
    AuxAddress: Map = None


class Ipam(Body):
    """``IPAM``."""

    Driver: str | None = None
    Options: Map = None
    Config: list[Pool] | None = None


class NetworkCreate(Body):
    """``POST /networks/create``."""

    Name: str | None = None
    CheckDuplicate: bool | None = None
    Driver: str | None = None
    Scope: str | None = None
    Internal: bool | None = None
    Attachable: bool | None = None
    Ingress: bool | None = None
    ConfigOnly: bool | None = None
    ConfigFrom: dict[str, Any] | None = None
    IPAM: Ipam | None = None
    EnableIPv4: bool | None = None
    EnableIPv6: bool | None = None
    Options: Map = None
    Labels: Map = None


class NetworkConnect(Body):
    """``POST /networks/{id}/connect``."""

    Container: str | None = None
    EndpointConfig: EndpointSettings | None = None


class NetworkDisconnect(Body):
    """``POST /networks/{id}/disconnect``."""

    Container: str | None = None
    Force: bool | None = None
