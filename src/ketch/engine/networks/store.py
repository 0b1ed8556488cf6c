"""The networks there are: three predefined ones and the users' own, with their address pools."""

from __future__ import annotations

import re
import secrets
import time

import msgspec

from ketch.engine.networks.values import NetworkConfig, NetworkRecord, NetworkSpec
from ketch.errors import Conflict, Forbidden, InvalidParameter, NotFound, Unsupported
from ketch.network import subnets
from ketch.network.bridge import exists
from ketch.network.pool import AddressPool
from ketch.network.ports import EVERY_IPV4, is_ipv4
from ketch.state.database import Database, Table

PREDEFINED = ("bridge", "host", "none")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_INTERFACE = re.compile(r"[a-zA-Z0-9_.-]{1,15}")
_NO_INTERFACES = (".", "..", "all", "default")  # directories of /proc/sys/net/ipv4/conf
_MTU = re.compile("[0-9]{2,5}")
BRIDGE_NAME, MTU = "com.docker.network.bridge.name", "com.docker.network.driver.mtu"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
_AMONG_EACH_OTHER = "com.docker.network.bridge.enable_icc"
_OPTIONS = {BRIDGE_NAME, MTU, MASQUERADE, HOST_BINDING, _AMONG_EACH_OTHER}
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")


class NetworkStore:
    """Records by ID, and the pool of each network that has addresses."""

    def __init__(self, database: Database, config: NetworkConfig) -> None:
        self._table: Table[NetworkRecord] = Table(database, "networks", NetworkRecord)
        self._config = config
        self._records = self._table.all()
        self.pools: dict[str, AddressPool] = {}
        self._predefine()
        for record in self._records.values():
            if record.subnets:
                self.pools[record.id] = AddressPool(
                    *record.subnets[0], record.ip_range, record.reserved.values()
                )

    def values(self) -> list[NetworkRecord]:
        """Every network, the oldest first."""
        return sorted(self._records.values(), key=lambda record: record.created_at)

    def bridged(self) -> list[NetworkRecord]:
        """Those that have a bridge."""
        return [record for record in self.values() if record.driver == "bridge"]

    def bridge_address(self, record: NetworkRecord) -> tuple[str, int]:
        """The address of a network's bridge with its prefix, and the MTU."""
        pool = self.pools[record.id]
        return f"{pool.gateway}/{pool.prefix}", self.mtu(record)

    def mtu(self, record: NetworkRecord) -> int:
        """Bytes; 0 is the kernel's own."""
        return int(record.options.get(MTU) or self._config.mtu)

    def masquerades(self, record: NetworkRecord) -> bool:
        """Whether what leaves the network bears the host's address."""
        return record.options.get(MASQUERADE, "true") in _TRUE

    def host_address(self, record: NetworkRecord) -> str:
        """Where ports are published that name no address of the host; "" is every one, of IPv6
        too, as it is where the option says 0.0.0.0."""
        address = record.options.get(HOST_BINDING, "")
        return "" if address == EVERY_IPV4 else address

    def resolve(self, ref: str) -> NetworkRecord:
        """By name, ID or a unique beginning of an ID; raises ``NotFound``."""
        for record in self._records.values():
            if ref in (record.name, record.id):
                return record
        found = [record for record in self._records.values() if ref and record.id.startswith(ref)]
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidParameter(f"network {ref} is ambiguous ({len(found)} matches found)")
        raise NotFound(f"network {ref} not found")

    def make(self, spec: NetworkSpec) -> NetworkRecord:
        """Check, choose a subnet, and record; raises Docker's refusals."""
        self._check(spec)
        subnet, gateway = self._subnet(spec)
        identity = secrets.token_hex(32)
        pool = AddressPool(subnet, gateway, spec.ip_range, spec.reserved.values())
        record = NetworkRecord(
            id=identity,
            name=spec.name,
            driver="bridge",
            created_at=time.time_ns(),
            internal=spec.internal,
            attachable=spec.attachable,
            subnets=((subnet, pool.gateway),),
            ip_range=spec.ip_range,
            reserved=spec.reserved,
            bridge=spec.options.get(BRIDGE_NAME) or f"br-{identity[:12]}",
            options=spec.options,
            labels=spec.labels,
        )
        self._put(record)
        self.pools[identity] = pool
        return record

    def forget(self, record: NetworkRecord) -> None:
        """Remove a record; raises ``Forbidden`` for predefined networks."""
        self.withdraw(record)
        self._table.delete(record.id)

    def withdraw(self, record: NetworkRecord) -> AddressPool | None:
        """Nobody finds the network any more, but its record stays; raises as ``forget``."""
        self.check_removable(record)
        self._records.pop(record.id, None)
        return self.pools.pop(record.id, None)

    def check_removable(self, record: NetworkRecord) -> None:
        """Raises ``Forbidden`` for predefined networks."""
        if record.name in PREDEFINED:
            raise Forbidden(f"{record.name} is a pre-defined network and cannot be removed")

    def readmit(self, record: NetworkRecord, pool: AddressPool | None) -> None:
        """Undo ``withdraw``."""
        self._records[record.id] = record
        if pool is not None:
            self.pools[record.id] = pool

    def _put(self, record: NetworkRecord) -> None:
        self._table.put(record.id, record)
        self._records[record.id] = record

    def _check(self, spec: NetworkSpec) -> None:
        if not _NAME.fullmatch(spec.name):
            raise InvalidParameter(
                f"invalid network name: {spec.name!r} (only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed)"
            )
        if spec.name in (*PREDEFINED, "default"):
            raise Forbidden(f"operation is not permitted on predefined {spec.name} network ")
        if any(record.name == spec.name for record in self._records.values()):
            raise Conflict(f"network with name {spec.name} already exists")
        if spec.driver not in ("", "bridge", "default"):
            raise Unsupported(f"network driver {spec.driver} is not supported: use bridge")
        if spec.enable_ipv6:
            raise Unsupported("IPv6 networks (EnableIPv6) are not supported yet")
        if len(spec.subnets) > 1:
            raise Unsupported("bridge driver doesn't support multiple subnets")
        unknown = sorted(set(spec.options) - _OPTIONS)
        if unknown:
            raise Unsupported(f"network option {unknown[0]} is not supported")
        self._check_options(spec.options)

    def _check_options(self, options: dict[str, str]) -> None:
        bridge = options.get(BRIDGE_NAME)
        if bridge is not None:
            if not _INTERFACE.fullmatch(bridge) or bridge in _NO_INTERFACES:
                raise InvalidParameter(
                    f"invalid bridge name {bridge!r} ({BRIDGE_NAME}): at most 15 of [a-zA-Z0-9_.-]"
                )
            if exists(bridge) or any(r.bridge == bridge for r in self._records.values()):
                raise Conflict(
                    f"an interface named {bridge} exists already: ketch makes its bridges itself,"
                    f" choose another {BRIDGE_NAME}"
                )
        _check_words(options)
        mtu = options.get(MTU)
        if mtu is not None and not (_MTU.fullmatch(mtu) and 68 <= int(mtu) <= 65535):
            raise InvalidParameter(f"invalid {MTU} {mtu!r}: a number from 68 to 65535")

    def _subnet(self, spec: NetworkSpec) -> tuple[str, str]:
        taken, own = subnets.in_use(), self._own()
        if not spec.subnets or not spec.subnets[0][0]:
            return str(subnets.choose([*taken, *own], self._config.pools)), ""
        subnet, gateway = spec.subnets[0]
        wanted = AddressPool(subnet, gateway, spec.ip_range, spec.reserved.values()).subnet
        if any(wanted.overlaps(other) for other in own):
            raise Forbidden(
                "invalid pool request: Pool overlaps with other one on this address space"
            )
        return subnet, gateway

    def _own(self) -> list[subnets.Subnet]:
        """The subnets of our networks."""
        records = self._records.values()
        return [AddressPool(*record.subnets[0]).subnet for record in records if record.subnets]

    def _predefine(self) -> None:
        """The three networks that are always there; the bridge follows the configuration."""
        by_name = {record.name: record for record in self._records.values()}
        for name, driver in (("bridge", "bridge"), ("host", "host"), ("none", "null")):
            if name not in by_name:
                fresh = NetworkRecord(
                    id=secrets.token_hex(32), name=name, driver=driver, created_at=time.time_ns()
                )
                self._put(fresh)
                by_name[name] = fresh
        old = by_name["bridge"]
        bridge = msgspec.structs.replace(
            old,
            bridge=self._config.bridge,
            subnets=self._bridge_subnet(old),
            options=self._bridge_options(),
        )
        if bridge != old:
            self._put(bridge)

    def _bridge_options(self) -> dict[str, str]:
        """What docker shows of the default bridge, whose name scripts look up there."""
        return {
            "com.docker.network.bridge.default_bridge": "true",
            "com.docker.network.bridge.enable_icc": "true",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
            "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
            BRIDGE_NAME: self._config.bridge,
            MTU: str(self._config.mtu),
        }

    def _bridge_subnet(self, old: NetworkRecord) -> tuple[tuple[str, str], ...]:
        """``bip`` if given; else what it had, if the bridge is there or nobody else uses it.

        Otherwise a free one.
        """
        if self._config.bip:
            address, _, prefix = self._config.bip.partition("/")
            pool = AddressPool(f"{address}/{prefix}" if prefix else address, address)
            return ((str(pool.subnet), address),)
        taken = subnets.in_use(without=self._config.bridge)
        there = old.bridge == self._config.bridge and exists(old.bridge)  # maybe with containers
        if old.subnets and (
            there or not any(AddressPool(*old.subnets[0]).subnet.overlaps(o) for o in taken)
        ):
            return old.subnets
        pool = AddressPool(str(subnets.choose([*taken, *self._own()], self._config.pools)))
        return ((str(pool.subnet), pool.gateway),)


def _check_words(options: dict[str, str]) -> None:
    """Options that are switches or addresses; what is not honoured is refused."""
    for name in (MASQUERADE, _AMONG_EACH_OTHER):
        value = options.get(name, "true")
        if value not in (*_TRUE, *_FALSE):
            raise InvalidParameter(f"failed to parse {name} value: {value}: it is true or false")
    if options.get(_AMONG_EACH_OTHER, "true") in _FALSE:
        raise Unsupported(
            f"network option {_AMONG_EACH_OTHER}=false is not supported: containers of a network "
            "reach each other; give each a network of its own"
        )
    address = options.get(HOST_BINDING)
    if address is not None and not is_ipv4(address):
        raise InvalidParameter(
            f"failed to parse {HOST_BINDING} value: {address}: it is an IPv4 address"
        )
