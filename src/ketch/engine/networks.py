"""The network service: networks, endpoints of containers, published ports.

What a container holds (addresses, ports) is written to a table of its own as soon as it is given,
so that the successor of a killed daemon knows it, whether or not the container's own record was
written (``restore``).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec

from ketch.engine import container_events
from ketch.engine.container_record import ContainerRecord, Endpoint, PortBinding
from ketch.engine.container_spec import ContainerSpec, EndpointSpec
from ketch.engine.events import Events
from ketch.engine.filters import Filters, instant, labels_match, name_matches
from ketch.engine.network_store import MTU, PREDEFINED, NetworkStore
from ketch.engine.network_values import (
    Connection,
    Member,
    NetworkConfig,
    NetworkRecord,
    NetworkSpec,
    Stored,
    WarmLease,
)
from ketch.engine.prune_report import PruneReport
from ketch.engine.published_ports import PublishedPorts, wanted_ports
from ketch.errors import (
    Forbidden,
    InvalidParameter,
    KetchError,
    NotFound,
    Unavailable,
    Unsupported,
)
from ketch.links import Link
from ketch.network import bridge
from ketch.network.firewall import BridgeRules, Firewall, Forward
from ketch.network.pool import mac_of
from ketch.runtime.remote import Shim
from ketch.state.database import Database, Table

__all__ = ["Connection", "NetworkConfig", "NetworkSpec", "Networks", "WarmLease"]

_HEAL_EVERY = 4.0  # seconds; rules that somebody flushed are back within five
_log = logging.getLogger("ketch.engine.networks")


class Networks:
    """See the module's docstring."""

    def __init__(self, config: NetworkConfig, database: Database, events: Events) -> None:
        self._config = config
        self._database = database
        self._events = events
        self._store = NetworkStore(database, config)
        self._held: Table[Stored] = Table(database, "endpoints", Stored)
        self._members = self._held.all()
        self._firewall = Firewall(config.nft_table)
        self._ports = PublishedPorts(self._firewall)
        self._warm: dict[str, Endpoint] = {}
        self._healer: asyncio.Task[None] | None = None

    # the daemon's life

    async def setup(self) -> None:
        """Bridges, forwarding, firewall; raises ``Unavailable`` when the kernel refuses."""
        if self._config.ip_forward:
            bridge.enable_forwarding()
        for record in self._bridged():
            self._ensure(record)
        held = [forward for stored in self._members.values() for forward in stored.forwards()]
        self._firewall.rebuild(map(_rules, self._bridged()), held)
        self._warn_of_foreign_rules()
        self._healer = asyncio.create_task(self._heal())

    def _warn_of_foreign_rules(self) -> None:
        if self._firewall.is_shut_by_others():
            _log.warning(
                "iptables drops what no rule of its FORWARD chain accepts: containers cannot reach "
                "beyond the host until rules accept what comes from and goes to %s",
                self._config.bridge,
            )

    async def close(self) -> None:
        """Stop watching; rules and bridges stay, so containers keep their network."""
        if self._healer is not None:
            self._healer.cancel()
        await self._ports.close()

    async def teardown(self) -> None:
        """Remove the table and all bridges: only when no container runs."""
        self._firewall.remove()
        for record in self._bridged():
            await asyncio.to_thread(bridge.remove, record.bridge)

    async def restore(self, running: Iterable[ContainerRecord]) -> dict[str, Connection]:
        """Take back what running containers hold, drop what nobody holds.

        Returns what each holds, for records that were not written before the daemon died.
        """
        alive = {record.id for record in running}
        published: list[Forward] = []
        found: dict[str, Connection] = {}
        for container_id, stored in tuple(self._members.items()):
            if container_id not in alive:
                self._drop(container_id)
                continue
            for endpoint in stored.endpoints:
                self._reserve(endpoint)
            self._ports.hold_again(stored)
            published += stored.forwards()
            found[container_id] = Connection(None, stored.endpoints, stored.ports)
        self._firewall.rebuild(map(_rules, self._bridged()), published)
        return found

    def _reserve(self, endpoint: Endpoint) -> None:
        pool = self._store.pools.get(endpoint.network_id)
        if pool is None or not endpoint.ipv4:
            return
        try:
            pool.reserve(endpoint.ipv4)
        except KetchError as error:
            _log.warning("endpoint %s: %s", endpoint.endpoint_id[:12], error)

    async def _heal(self) -> None:
        while True:
            await asyncio.sleep(_HEAL_EVERY)
            try:
                self._heal_bridges()
                if await asyncio.to_thread(self._firewall.is_intact):
                    continue
                if not self._firewall.is_intact():  # looked at while nobody publishes
                    _log.warning("the firewall table was changed by somebody else: made again")
                    self._firewall.heal()
            except KetchError as error:
                _log.error("%s", error)

    def _heal_bridges(self) -> None:
        for record in self._bridged():
            if not bridge.exists(record.bridge):
                _log.warning("the bridge %s was removed by somebody: made again", record.bridge)
                bridge.remake(record.bridge, *self._bridge_address(record), self._ends_on(record))

    def _ends_on(self, record: NetworkRecord) -> list[str]:
        """Host ends of the links on a network's bridge."""
        held = [endpoint for stored in self._members.values() for endpoint in stored.endpoints]
        held += self._warm.values()
        return [end.host_interface for end in held if end.network_id == record.id]

    # warm sandboxes

    async def reserve_warm(self) -> WarmLease:
        """An address on the default bridge for a sandbox that is made ahead."""
        record = self._store.resolve("bridge")
        endpoint = self._endpoint(record, EndpointSpec(network="bridge"))
        self._warm[endpoint.endpoint_id] = endpoint
        return WarmLease(self._link(record, endpoint, 0), endpoint)

    async def release_warm(self, lease: WarmLease) -> None:
        """Give the address of an unused sandbox back."""
        if self._warm.pop(lease.endpoint.endpoint_id, None) is not None:
            self._release(lease.endpoint)

    # containers

    async def connect(self, container: ContainerRecord, lease: WarmLease | None) -> Connection:
        """Everything of the network that a container needs to start.

        Raises ``NotFound`` for a network that is not there, ``KetchError`` with Docker's words for
        a port that is taken; nothing is held then.
        """
        record = self._network_of(container.spec)
        if record is None:
            return Connection()
        if record.driver != "bridge":
            self._tell("connect", record, container.id)
            return Connection(None, (_bare(record),))
        _refuse_unreachable(record, container.spec)
        endpoint, link = self._plan(container.spec, record, lease)
        try:
            ports = self._ports.publish(container, endpoint)
        except BaseException:
            self._release(endpoint)
            raise
        self._hold(container, (endpoint,), ports)
        self._tell("connect", record, container.id)
        return Connection(link, (endpoint,), ports)

    @contextmanager
    def republished(self, container: ContainerRecord) -> Iterator[tuple[PortBinding, ...]]:
        """Publish what the specification of a running container asks for now.

        The block records it: what it writes to the database and what is noted here become true
        together or, when it raises, not at all. Never await inside. Raises what ``connect`` does.
        """
        record = self._network_of(container.spec)
        stored = self._members.get(container.id)
        if record is None or record.driver != "bridge" or stored is None:
            yield ()
            return
        _refuse_unreachable(record, container.spec)
        with self._ports.exchanged(container, stored) as ports:
            now = msgspec.structs.replace(stored, ports=ports)
            with self._database.transaction():
                self._held.put(container.id, now)
                yield ports
            self._members[container.id] = now

    async def carry_ports(self, container_id: str, shim: Shim) -> None:
        """Let the shim of a running container carry what no rule of the kernel can.

        To be called when it runs, and whenever its ports have changed; no error when the container
        has ended meanwhile.
        """
        with suppress(NotFound, Unavailable):
            await self._ports.carry(self._members.get(container_id, Stored()), shim)

    async def disconnect(self, container_id: str, *, tell: bool = False) -> None:
        """Give back what a container held; no error when it held nothing.

        ``tell``: publish the events of it, where the container's exit has not done so.
        """
        stored = self._members.get(container_id)
        if stored is None:
            return
        self._ports.unpublish(stored)
        for endpoint in stored.endpoints:
            self._release(endpoint)
            if tell:
                container_events.left_network(self._events, container_id, endpoint)
        self._drop(container_id)

    async def forget(self, container: ContainerRecord) -> None:
        """A container is removed for good."""
        await self.disconnect(container.id)

    def _drop(self, container_id: str) -> None:
        self._members.pop(container_id, None)
        with self._database.transaction(durable=False):
            self._held.delete(container_id)

    def _hold(
        self,
        container: ContainerRecord,
        endpoints: tuple[Endpoint, ...],
        ports: tuple[PortBinding, ...],
    ) -> None:
        stored = Stored(endpoints=endpoints, ports=ports, name=container.name)
        self._members[container.id] = stored
        with self._database.transaction(durable=False):  # it need not survive a power cut
            self._held.put(container.id, stored)

    def _network_of(self, spec: ContainerSpec) -> NetworkRecord | None:
        """The network a container starts in; None when it shares another's namespace."""
        if spec.network_disabled:
            return None
        mode = spec.network_mode
        if mode.startswith("container:"):
            return None
        others = {point.network for point in spec.endpoints} - {mode, "default", "bridge"}
        if others and len(spec.endpoints) > 1:
            raise Unsupported(
                f"a container is created in one network; connect it to {sorted(others)[0]} later"
            )
        return self._store.resolve("bridge" if mode in ("", "default") else mode)

    def _plan(
        self, spec: ContainerSpec, record: NetworkRecord, lease: WarmLease | None
    ) -> tuple[Endpoint, Link | None]:
        asked = spec.endpoints[0] if spec.endpoints else EndpointSpec(network=record.name)
        if record.name in PREDEFINED:
            _refuse_user_settings(asked)
        if lease is not None:
            self._warm.pop(lease.endpoint.endpoint_id, None)
            return lease.endpoint, lease.link
        endpoint = self._endpoint(record, asked)
        return endpoint, self._link(record, endpoint, 0)

    def _endpoint(self, record: NetworkRecord, asked: EndpointSpec) -> Endpoint:
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
            mtu=self._mtu(record),
        )

    def _release(self, endpoint: Endpoint) -> None:
        pool = self._store.pools.get(endpoint.network_id)
        if pool is not None and endpoint.ipv4:
            pool.release(endpoint.ipv4)

    # networks as objects

    async def create(self, spec: NetworkSpec) -> NetworkRecord:
        """Make a network; raises Docker's refusals."""
        record = self._store.make(spec)
        try:
            self._ensure(record)
            self._firewall.add_bridge(_rules(record))
        except BaseException:
            self._store.forget(record)
            bridge.remove(record.bridge)
            raise
        self._tell("create", record)
        return record

    async def get(self, ref: str) -> NetworkRecord:
        """By name or ID; raises ``NotFound``."""
        return self._store.resolve(ref)

    async def list(self, filters: Filters | None = None) -> Sequence[NetworkRecord]:
        """Networks that fit Docker's filters: name, id, driver, label, type, dangling, scope."""
        return [record for record in self._store.values() if self._fits(record, filters or {})]

    async def members(self, network_id: str) -> tuple[Member, ...]:
        """Containers in a network."""
        return tuple(
            Member(container_id=container_id, name=stored.name, endpoint=endpoint)
            for container_id, stored in self._members.items()
            for endpoint in stored.endpoints
            if endpoint.network_id == network_id
        )

    async def connect_container(self, ref: str, container: str, asked: EndpointSpec) -> None:
        """Join a further network while running: not supported yet."""
        self._store.resolve(ref)
        raise Unsupported(
            f"connecting a container to a further network ({container} to {ref}) is not supported"
            " yet: create it with --network"
        )

    async def disconnect_container(self, ref: str, container: str, *, force: bool) -> None:
        """Leave a network while running: not supported yet."""
        self._store.resolve(ref)
        raise Unsupported(
            f"disconnecting a container from a network ({container} from {ref}) is not supported"
            " yet: remove the container"
        )

    async def remove(self, ref: str) -> None:
        """Remove a network that nobody is in; raises ``Forbidden`` otherwise."""
        record = self._store.resolve(ref)
        self._store.check_removable(record)
        members = await self.members(record.id)
        if members:
            who = ", ".join(f'name:"{m.name}" id:"{m.container_id[:12]}"' for m in members)
            raise Forbidden(
                f"error while removing network: network {record.name} has active endpoints ({who})"
            )
        pool = self._store.withdraw(record)
        try:
            self._firewall.remove_bridge(record.bridge)
            await asyncio.to_thread(bridge.remove, record.bridge)
        except BaseException:
            self._store.readmit(record, pool)
            raise
        self._store.forget(record)  # last: a crash before leaves a network, never a bare bridge
        self._tell("destroy", record)

    async def prune(self, filters: Filters | None = None) -> PruneReport:
        """Remove the users' networks that nobody is in."""
        deleted = []
        for record in await self.list(filters):
            if record.name not in PREDEFINED and not await self.members(record.id):
                await self.remove(record.id)
                deleted.append(record.name)
        return PruneReport(deleted=tuple(deleted))

    def _fits(self, record: NetworkRecord, filters: Filters) -> bool:
        used = any(e.network_id == record.id for m in self._members.values() for e in m.endpoints)
        dangling = not used and record.name not in PREDEFINED
        wanted = {key: values for key, values in filters.items() if values}
        if any((value in ("true", "1")) != dangling for value in wanted.pop("dangling", ())):
            return False
        return all(any(_TESTS[key](record, v) for v in values) for key, values in wanted.items())

    def _bridged(self) -> Sequence[NetworkRecord]:
        return [record for record in self._store.values() if record.driver == "bridge"]

    def _ensure(self, record: NetworkRecord) -> None:
        bridge.ensure(record.bridge, *self._bridge_address(record))

    def _bridge_address(self, record: NetworkRecord) -> tuple[str, int]:
        """The address of a network's bridge with its prefix, and the MTU."""
        pool = self._store.pools[record.id]
        return f"{pool.gateway}/{pool.prefix}", self._mtu(record)

    def _mtu(self, record: NetworkRecord) -> int:
        return int(record.options.get(MTU) or self._config.mtu)

    def _tell(self, action: str, record: NetworkRecord, container: str = "") -> None:
        attributes = {"name": record.name, "type": record.driver}
        if container:
            attributes["container"] = container
        self._events.publish("network", action, record.id, attributes)


_TESTS: dict[str, Callable[[NetworkRecord, str], bool]] = {
    "name": lambda record, value: name_matches(value, record.name),
    "id": lambda record, value: record.id.startswith(value),
    "driver": lambda record, value: value == record.driver,
    "scope": lambda record, value: value == "local",
    "type": lambda record, value: (record.name in PREDEFINED) == (value == "builtin"),
    "label": lambda record, value: labels_match(record.labels, (value,)),
    "label!": lambda record, value: not labels_match(record.labels, (value,)),
    "until": lambda record, value: record.created_at < instant(value),
}


def _refuse_unreachable(record: NetworkRecord, spec: ContainerSpec) -> None:
    if record.internal and wanted_ports(spec):
        raise Unsupported(
            f"ports cannot be published on the internal network {record.name}: nothing outside "
            "reaches it"
        )


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


def _rules(record: NetworkRecord) -> BridgeRules:
    return BridgeRules(record.bridge, record.subnets[0][0], record.internal)


def _bare(record: NetworkRecord) -> Endpoint:
    """The endpoint of ``host`` and ``none``: a name without addresses."""
    return Endpoint(network=record.name, network_id=record.id, endpoint_id=secrets.token_hex(32))
