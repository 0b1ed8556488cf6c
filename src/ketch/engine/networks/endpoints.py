"""Endpoints: the addresses of containers in networks, and of sandboxes that are made ahead."""

from __future__ import annotations

import logging
import secrets

from ketch.engine.containers.record import Endpoint
from ketch.engine.containers.spec import ContainerSpec, EndpointSpec
from ketch.engine.networks.store import PREDEFINED, NetworkStore
from ketch.engine.networks.values import NetworkRecord, WarmLease
from ketch.errors import InvalidParameter, KetchError, Unsupported
from ketch.links import Link
from ketch.network.pool import mac_of

_log = logging.getLogger("ketch.engine.networks")


class Endpoints:
    """Gives addresses out and takes them back; what is given is recorded by the caller."""

    def __init__(self, store: NetworkStore) -> None:
        self._store = store
        self._warm: dict[str, Endpoint] = {}

    def warm(self) -> list[Endpoint]:
        """Those of sandboxes that no container has taken yet."""
        return list(self._warm.values())

    def lease(self) -> WarmLease:
        """An address on the default bridge for a sandbox that is made ahead."""
        record = self._store.resolve("bridge")
        endpoint = self._make(record, EndpointSpec(network="bridge"))
        self._warm[endpoint.endpoint_id] = endpoint
        return WarmLease(self._link(record, endpoint, 0), endpoint)

    def end_lease(self, lease: WarmLease) -> None:
        """Give the address of an unused sandbox back."""
        if self._warm.pop(lease.endpoint.endpoint_id, None) is not None:
            self.release(lease.endpoint)

    def plan(
        self, spec: ContainerSpec, record: NetworkRecord, lease: WarmLease | None
    ) -> tuple[Endpoint, Link]:
        """A container's endpoint in a network, and the link that makes it; with ``lease`` they are
        those of the sandbox. Raises Docker's refusals."""
        asked = spec.endpoints[0] if spec.endpoints else EndpointSpec(network=record.name)
        if record.name in PREDEFINED:
            _refuse_user_settings(asked)
        if lease is not None:
            self._warm.pop(lease.endpoint.endpoint_id, None)
            return lease.endpoint, lease.link
        endpoint = self._make(record, asked)
        return endpoint, self._link(record, endpoint, 0)

    def reserve(self, endpoint: Endpoint) -> None:
        """Keep the address of a container that runs; one that is taken is only told in the log."""
        pool = self._store.pools.get(endpoint.network_id)
        if pool is None or not endpoint.ipv4:
            return
        try:
            pool.reserve(endpoint.ipv4)
        except KetchError as error:
            _log.warning("endpoint %s: %s", endpoint.endpoint_id[:12], error)

    def release(self, endpoint: Endpoint) -> None:
        """Take the address back; no error when the network has gone."""
        pool = self._store.pools.get(endpoint.network_id)
        if pool is not None and endpoint.ipv4:
            pool.release(endpoint.ipv4)

    def _make(self, record: NetworkRecord, asked: EndpointSpec) -> Endpoint:
        pool = self._store.pools[record.id]
        if asked.ipv6:
            raise Unsupported("static IPv6 addresses are not supported yet")
        if asked.ipv4:
            pool.reserve(asked.ipv4)
        address = asked.ipv4 or pool.allocate()
        return Endpoint(
            network=record.name,
            network_id=record.id,
            endpoint_id=secrets.token_hex(32),
            ipv4=address,
            ipv4_prefix=pool.prefix,
            gateway="" if record.internal else pool.gateway,
            mac=asked.mac or mac_of(address),
            aliases=asked.aliases,
            host_interface=f"kv{secrets.token_hex(5)}",
            interface="eth0",
        )

    def _link(self, record: NetworkRecord, endpoint: Endpoint, index: int) -> Link:
        return Link(
            name=f"eth{index}",
            host_name=endpoint.host_interface,
            bridge=record.bridge,
            mac=endpoint.mac,
            addresses=(f"{endpoint.ipv4}/{endpoint.ipv4_prefix}",),
            gateways=(endpoint.gateway,) if endpoint.gateway else (),
            mtu=self._store.mtu(record),
        )


def bare(record: NetworkRecord) -> Endpoint:
    """The endpoint of ``host`` and ``none``: a name without addresses."""
    return Endpoint(network=record.name, network_id=record.id, endpoint_id=secrets.token_hex(32))


def _refuse_user_settings(asked: EndpointSpec) -> None:
    """What only users' own networks have, in Docker's words."""
    if asked.aliases:
        raise InvalidParameter(
            "invalid endpoint settings:\nnetwork-scoped aliases are only supported for"
            " user-defined networks"
        )
    if asked.ipv4 or asked.ipv6:
        raise InvalidParameter(
            "invalid endpoint settings:\nuser specified IP address is supported on user defined"
            " networks only"
        )
