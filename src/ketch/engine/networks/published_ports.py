"""Published ports of containers: host ports held, rules or carriers for them, senders told."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from ketch.engine.containers.record import ContainerRecord, Endpoint, PortBinding
from ketch.engine.containers.spec import ContainerSpec, PortSpec
from ketch.engine.networks.values import Stored, forwards
from ketch.engine.tasks import Background
from ketch.errors import Conflict, KetchError, Unsupported
from ketch.linux import conntrack
from ketch.network.firewall import Firewall, Forward
from ketch.network.ports import HostPorts, Key, PortTaken, addresses_of, is_ipv6
from ketch.runtime.messages import Forward as Carried
from ketch.runtime.remote import Shim

_log = logging.getLogger("ketch.engine.networks")


class PublishedPorts:
    """Between containers and the firewall; what was published is recorded by the caller."""

    def __init__(self, firewall: Firewall) -> None:
        self._firewall = firewall
        self._ports = HostPorts()
        self._background = Background()

    async def close(self) -> None:
        """Let go of the host's ports; the rules stay, so containers are reached as before."""
        await self._background.close()
        self._ports.close()

    def publish(
        self, container: ContainerRecord, endpoint: Endpoint, host: str = ""
    ) -> tuple[PortBinding, ...]:
        """Publish what a container's specification asks for, all or nothing; where it names no
        address of the host, on ``host``, or on every one.

        Raises ``Conflict`` with Docker's words for a port that is taken.
        """
        bindings: list[PortBinding] = []
        try:
            for port in wanted_ports(container.spec, host):
                bindings += self._bind(port, container.name, endpoint)
            self._firewall.publish(forwards((endpoint,), bindings))
        except BaseException:
            self._let_go(bindings)
            raise
        self._forget_flows(bindings)
        return tuple(bindings)

    @contextmanager
    def exchanged(
        self, container: ContainerRecord, stored: Stored, host: str = ""
    ) -> Iterator[tuple[PortBinding, ...]]:
        """Publish what the specification asks for now, instead of what the container holds.

        Yields what is published then; when the block fails everything is as it was. Raises
        ``KetchError`` for a port that is taken.
        """
        kept, gone, wanted = _compared(stored.ports, wanted_ports(container.spec, host))
        added: list[PortBinding] = []
        lent = {_key(port) for port in gone if self._ports.socket_of(*_key(port)) is None}
        self._let_go(gone)
        exchanged = False
        old, new = forwards(stored.endpoints, gone), list[Forward]()
        try:
            for port in wanted:
                added += self._bind(port, container.name, stored.endpoints[0], lent)
            new = forwards(stored.endpoints, added)
            self._firewall.exchange(old, new)
            exchanged = True
            yield (*kept, *added)
        except BaseException:
            self._let_go(added)
            self._hold_all(gone)
            if exchanged:
                self._firewall.exchange(new, old)
            raise
        self._forget_flows((*gone, *added))

    def unpublish(self, stored: Stored) -> None:
        """Take back what a container published; never raises, since the container is gone."""
        try:
            self._firewall.unpublish(stored.forwards())
        except KetchError as error:
            _log.error("%s", error)
        self._let_go(stored.ports)
        self._forget_flows(stored.ports)

    def hold_again(self, stored: Stored) -> None:
        """Hold the ports of a container that a daemon before this one published."""
        self._hold_all(stored.ports)

    def _hold_all(self, bindings: Iterable[PortBinding]) -> None:
        for port in bindings:
            try:
                self._ports.hold_again(*_key(port))
            except PortTaken as error:
                _log.warning("published port %s: %s", port.host_port, error)

    async def carry(self, stored: Stored, shim: Shim, *, anew: bool = False) -> None:
        """Let a container's shim carry what comes to its ports on IPv6 addresses, and no more.

        Whatever a daemon before this one did of it; ``anew``: the shim carries nothing yet.
        Raises ``NotFound``, ``Unavailable`` when the container has ended.
        """
        carried = {} if anew else (await shim.state()).get("forwards")
        if carried is None:  # it was started by an older release, which had none of this
            return
        wanted = dict(_carried(stored))
        stale = [name for name in carried if name not in wanted]
        if stale:
            await shim.unforward(stale)
        other = [
            forward
            for name, (forward, _) in wanted.items()
            if name in carried and tuple(carried[name]) != forward["target"]
        ]
        if other:
            await shim.aim(other)
        fresh = [pair for name, pair in wanted.items() if name not in carried]
        await shim.forward([*self._sockets(fresh)])
        for _, key in wanted.values():
            self._ports.handed_over(*key)

    def _sockets(
        self, ports: Iterable[tuple[Carried, Key]]
    ) -> Iterator[tuple[socket.socket, Carried]]:
        for forward, key in ports:
            sock = self._ports.socket_of(*key)
            if sock is not None:
                yield sock, forward
            elif self._ports.is_held(*key):  # else the container has ended meanwhile
                _log.warning("published port %s: another program holds it", forward["name"])

    def _bind(
        self, port: PortSpec, name: str, endpoint: Endpoint, lent: Collection[Key] = ()
    ) -> list[PortBinding]:
        """Hold a port for the container ``name``; raises ``Conflict`` when it is taken."""
        if port.protocol not in ("tcp", "udp"):
            raise Unsupported(f"publishing {port.protocol} ports is not supported: use tcp or udp")
        addresses = addresses_of(port.host_ip)
        try:
            held = self._ports.hold(port.protocol, addresses, port.host_port, lent)
        except PortTaken as error:
            target = f"{endpoint.ipv4}:{port.container_port}/{port.protocol}"
            raise Conflict(
                "driver failed programming external connectivity on endpoint "
                f"{name} ({endpoint.endpoint_id}): {error.told(target)}"
            ) from None
        return [
            PortBinding(
                container_port=port.container_port,
                protocol=port.protocol,
                host_ip=address,
                host_port=held,
            )
            for address in addresses
        ]

    def _let_go(self, bindings: Iterable[PortBinding]) -> None:
        for port in bindings:
            self._ports.release(*_key(port))

    def _forget_flows(self, ports: Iterable[PortBinding]) -> None:
        """Let senders of UDP follow a port that leads somewhere else now."""
        changed = {port.host_port for port in ports if port.protocol == "udp"}
        if changed:
            self._background.spawn(asyncio.to_thread(_forget_udp, changed))


def _key(port: PortBinding) -> Key:
    """How ``HostPorts`` knows a port."""
    return port.protocol, port.host_ip, port.host_port


def _carried(stored: Stored) -> Iterator[tuple[str, tuple[Carried, Key]]]:
    """What the shim is to carry, by the name that it knows a port by."""
    address = next((endpoint.ipv4 for endpoint in stored.endpoints if endpoint.ipv4), "")
    for port in stored.ports:
        if is_ipv6(port.host_ip) and address:
            name = f"[{port.host_ip}]:{port.host_port}/{port.protocol}"
            target = (address, port.container_port)
            forward = Carried(name=name, protocol=port.protocol, target=target)
            yield name, (forward, _key(port))


def _compared(
    held: Sequence[PortBinding], asked: Sequence[PortSpec]
) -> tuple[list[PortBinding], list[PortBinding], list[PortSpec]]:
    """What stays, what goes, what is to be bound (pure)."""
    kept: list[PortBinding] = []
    gone, wanted = list(held), []
    for port in asked:
        same = next((binding for binding in gone if _fits(binding, port)), None)
        if same is None:
            wanted.append(port)
            continue
        for binding in tuple(gone):  # one for each address of the host
            if binding.host_port == same.host_port and _fits(binding, port):
                gone.remove(binding)
                kept.append(binding)
    return kept, gone, wanted


def _fits(binding: PortBinding, port: PortSpec) -> bool:
    first, _, last = port.host_port.partition("-")
    return (
        (binding.container_port, binding.protocol) == (port.container_port, port.protocol)
        and binding.host_ip in addresses_of(port.host_ip)
        and (first in ("", "0") or int(first) <= binding.host_port <= int(last or first))
    )


def wanted_ports(spec: ContainerSpec, host: str = "") -> list[PortSpec]:
    """The ports to publish: ``-p``, and with ``-P`` every exposed one that is not among them.

    ``host`` is the address of those that name none; "" is every one.
    """
    ports = list(spec.ports)
    if spec.publish_all:
        given = {(port.container_port, port.protocol) for port in ports}
        for text in spec.exposed_ports:
            number, _, protocol = text.partition("/")
            if (int(number), protocol or "tcp") not in given:
                ports.append(PortSpec(container_port=int(number), protocol=protocol or "tcp"))
    if host:
        ports = [msgspec.structs.replace(port, host_ip=port.host_ip or host) for port in ports]
    return ports


def _forget_udp(ports: set[int]) -> None:
    try:
        conntrack.forget(socket.IPPROTO_UDP, ports)
    except OSError as error:
        _log.warning("senders to UDP ports %s may reach their old target: %s", ports, error)
