"""The network service: networks, endpoints of containers, published ports.

What a container holds (addresses, ports) is written to a table of its own as soon as it is given,
so that the successor of a killed daemon knows it, whether or not the container's own record was
written (``restore``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec

from ketch.engine.containers import events as container_events
from ketch.engine.containers.record import ContainerRecord, Endpoint, PortBinding
from ketch.engine.containers.spec import ContainerSpec, EndpointSpec
from ketch.engine.events.events import Events
from ketch.engine.filters import Filters
from ketch.engine.networks.endpoints import Endpoints, bare
from ketch.engine.networks.filters import fits
from ketch.engine.networks.healing import Healer
from ketch.engine.networks.published_ports import PublishedPorts, wanted_ports
from ketch.engine.networks.store import PREDEFINED, NetworkStore
from ketch.engine.networks.values import (
    Connection,
    Member,
    NetworkConfig,
    NetworkRecord,
    NetworkSpec,
    Stored,
    WarmLease,
)
from ketch.engine.prune_report import PruneReport
from ketch.errors import (
    Forbidden,
    NotFound,
    Unavailable,
    Unsupported,
)
from ketch.network import bridge
from ketch.network.firewall import BridgeRules, Firewall, Forward
from ketch.runtime.remote import Shim
from ketch.state.database import Database, Table

__all__ = ["Connection", "NetworkConfig", "NetworkSpec", "Networks", "WarmLease"]

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
        self._endpoints = Endpoints(self._store)
        self._healer = Healer(self._store, self._firewall, self._ends_on)

    # the daemon's life

    async def setup(self) -> None:
        """Bridges, forwarding, firewall; raises ``Unavailable`` when the kernel refuses."""
        if self._config.ip_forward:
            bridge.enable_forwarding()
        for record in self._store.bridged():
            self._ensure(record)
        held = [forward for stored in self._members.values() for forward in stored.forwards()]
        self._firewall.rebuild(map(self._rules, self._store.bridged()), held)
        self._warn_of_foreign_rules()
        self._healer.start()

    def _warn_of_foreign_rules(self) -> None:
        if self._firewall.is_shut_by_others():
            _log.warning(
                "iptables drops what no rule of its FORWARD chain accepts: containers cannot reach "
                "beyond the host until rules accept what comes from and goes to %s",
                self._config.bridge,
            )

    async def close(self) -> None:
        """Stop watching; rules and bridges stay, so containers keep their network."""
        self._healer.close()
        await self._ports.close()

    async def teardown(self) -> None:
        """Remove the table and all bridges: only when no container runs."""
        self._firewall.remove()
        for record in self._store.bridged():
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
                self._endpoints.reserve(endpoint)
            self._ports.hold_again(stored)
            published += stored.forwards()
            found[container_id] = Connection(None, stored.endpoints, stored.ports)
        self._firewall.rebuild(map(self._rules, self._store.bridged()), published)
        return found

    def _ends_on(self, record: NetworkRecord) -> list[str]:
        """Host ends of the links on a network's bridge."""
        held = [endpoint for stored in self._members.values() for endpoint in stored.endpoints]
        held += self._endpoints.warm()
        return [end.host_interface for end in held if end.network_id == record.id]

    # warm sandboxes

    async def reserve_warm(self) -> WarmLease:
        """An address on the default bridge for a sandbox that is made ahead."""
        return self._endpoints.lease()

    async def release_warm(self, lease: WarmLease) -> None:
        """Give the address of an unused sandbox back."""
        self._endpoints.end_lease(lease)

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
            return Connection(None, (bare(record),))
        _refuse_unreachable(record, container.spec)
        endpoint, link = self._endpoints.plan(container.spec, record, lease)
        try:
            ports = self._ports.publish(container, endpoint, self._store.host_address(record))
        except BaseException:
            self._endpoints.release(endpoint)
            raise
        with self._events.telling():
            self._tell("connect", record, container.id)
            self._hold(container, (endpoint,), ports)
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
        host = self._store.host_address(record)
        with self._ports.exchanged(container, stored, host) as ports:
            now = msgspec.structs.replace(stored, ports=ports)
            with self._database.transaction():
                self._held.put(container.id, now)
                yield ports
            self._members[container.id] = now

    async def carry_ports(self, container_id: str, shim: Shim, *, anew: bool = False) -> None:
        """Let the shim of a running container carry what no rule of the kernel can.

        To be called when it runs (``anew``), and whenever its ports have changed; no error when the
        container has ended meanwhile.
        """
        with suppress(NotFound, Unavailable):
            stored = self._members.get(container_id, Stored())
            await self._ports.carry(stored, shim, anew=anew)

    async def disconnect(self, container_id: str, *, tell: bool = False) -> None:
        """Give back what a container held; no error when it held nothing.

        ``tell``: publish the events of it, where the container's exit has not done so.
        """
        stored = self._members.get(container_id)
        if stored is None:
            return
        self._ports.unpublish(stored)
        for endpoint in stored.endpoints:
            self._endpoints.release(endpoint)
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

    # networks as objects

    async def create(self, spec: NetworkSpec) -> NetworkRecord:
        """Make a network; raises Docker's refusals."""
        record = self._store.make(spec)
        try:
            self._ensure(record)
            self._firewall.add_bridge(self._rules(record))
        except BaseException:
            self._store.forget(record)
            bridge.remove(record.bridge)
            raise
        self._tell("create", record)
        return record

    def host_gateway(self) -> str:
        """The host's address on the default bridge; "" without that."""
        with suppress(NotFound):
            return next((gateway for _, gateway in self._store.resolve("bridge").subnets), "")
        return ""

    async def get(self, ref: str) -> NetworkRecord:
        """By name or ID; raises ``NotFound``."""
        return self._store.resolve(ref)

    async def list(self, filters: Filters | None = None) -> Sequence[NetworkRecord]:
        """Networks that fit Docker's filters: name, id, driver, label, type, dangling, scope."""
        used = {end.network_id for held in self._members.values() for end in held.endpoints}
        return [
            record
            for record in self._store.values()
            if fits(record, filters or {}, used=record.id in used)
        ]

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
        self._events.pruned("network", 0)
        return PruneReport(deleted=tuple(deleted))

    def _ensure(self, record: NetworkRecord) -> None:
        bridge.ensure(record.bridge, *self._store.bridge_address(record))

    def _rules(self, record: NetworkRecord) -> BridgeRules:
        masquerade = self._store.masquerades(record)
        return BridgeRules(record.bridge, record.subnets[0][0], record.internal, masquerade)

    def _tell(self, action: str, record: NetworkRecord, container: str = "") -> None:
        attributes = {"name": record.name, "type": record.driver}
        if container:
            attributes["container"] = container
        self._events.publish("network", action, record.id, attributes)


def _refuse_unreachable(record: NetworkRecord, spec: ContainerSpec) -> None:
    if record.internal and wanted_ports(spec):
        raise Unsupported(
            f"ports cannot be published on the internal network {record.name}: nothing outside "
            "reaches it"
        )
