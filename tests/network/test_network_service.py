"""The network service on the real kernel: daemons that come and go, hostile networks, healing."""

from __future__ import annotations

import asyncio
import resource
import secrets
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from free_networks import free_octet
from ketch.engine.containers.record import ContainerRecord, ContainerState, Status
from ketch.engine.containers.spec import ContainerSpec, EndpointSpec, PortSpec
from ketch.engine.events.events import Events
from ketch.engine.networks import healing as network_healing
from ketch.engine.networks.networks import Networks
from ketch.engine.networks.values import NetworkConfig, NetworkSpec
from ketch.errors import Conflict, Forbidden, InvalidParameter, KetchError, Unsupported
from ketch.linux import nft
from ketch.network import bridge
from ketch.runtime.messages import Forward
from ketch.runtime.remote import Shim
from ketch.state.database import Database

pytestmark = pytest.mark.root

BRIDGE_NAME, MTU = "com.docker.network.bridge.name", "com.docker.network.driver.mtu"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"


class Daemons:
    """Successive daemons on one database, bridge and table."""

    def __init__(self, root: Path) -> None:
        self.tag = f"kt{secrets.token_hex(3)}"
        self.database = Database(str(root / "ketch.db"))
        self.config = NetworkConfig(
            bridge=self.tag,
            bip=f"10.196.{free_octet('10.196')}.1/24",
            nft_table=self.tag,
            pools=(("10.99.0.0/16", 24),),
            ip_forward=False,
        )

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[Networks]:
        networks = Networks(self.config, self.database, Events(self.database))
        await networks.setup()
        try:
            yield networks
        finally:
            await networks.close()

    def table(self) -> str:
        return nft.run(f"list table ip {self.tag}")


@pytest.fixture
async def daemons(tmp_path: Path) -> AsyncIterator[Daemons]:
    found = Daemons(tmp_path)
    try:
        yield found
    finally:
        async with found.daemon() as networks:
            await networks.teardown()
        found.database.close()


def container(name: str, *ports: str, network: str = "bridge", ip: str = "") -> ContainerRecord:
    """``ports`` are ``[[IP]:]host:container``."""
    published = []
    for port in ports:
        outer, _, inner = port.rpartition(":")
        address, _, number = outer.rpartition(":")
        published.append(
            PortSpec(container_port=int(inner), host_port=number, host_ip=address.strip("[]"))
        )
    return ContainerRecord(
        id=name * 32,
        name=name,
        created_at=1,
        image_id="",
        layers=(),
        spec=ContainerSpec(
            image="i",
            network_mode=network,
            endpoints=(EndpointSpec(network=network, ipv4=ip),),
            ports=tuple(published),
        ),
        state=ContainerState(status=Status.RUNNING),
    )


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def test_what_a_container_holds_outlives_the_daemon(daemons: Daemons) -> None:
    async with daemons.daemon() as first:
        held = await first.connect(container("ab", ":80"), None)
        await first.connect(container("cd", ":80"), None)
        port = held.ports[0].host_port
    element = f"tcp . {port} : {held.endpoints[0].ipv4} . 80"
    assert element in daemons.table()
    async with daemons.daemon() as second:
        assert element in daemons.table()  # before anything is restored
        found = await second.restore([container("ab")])
        assert found["ab" * 32].ports == held.ports
        assert daemons.table().count(" . 80") == 1
        with pytest.raises(KetchError, match="port is already allocated"):
            await second.connect(container("ef", f"{port}:80"), None)
        fresh = await second.connect(container("ef"), None)
        assert fresh.endpoints[0].ipv4 != held.endpoints[0].ipv4
        await second.disconnect("ab" * 32)
        assert element not in daemons.table()


class RecordedShim:
    """What a daemon asks of a shim; its sockets live on as a shim's do."""

    def __init__(self) -> None:
        self.forwards: dict[str, tuple[str, int]] = {}
        self.sockets: dict[str, socket.socket] = {}

    async def state(self) -> dict[str, object]:
        return {"forwards": dict(self.forwards)}

    async def forward(self, ports: Sequence[tuple[socket.socket, Forward]]) -> None:
        for sock, forward in ports:
            self.sockets[forward["name"]] = sock.dup()
        await self.aim([forward for _, forward in ports])

    async def aim(self, forwards: Sequence[Forward]) -> None:
        self.forwards |= {forward["name"]: forward["target"] for forward in forwards}

    async def unforward(self, names: Sequence[str]) -> None:
        for name in names:
            self.sockets.pop(name).close()
            del self.forwards[name]


async def test_a_shim_carries_what_is_published_on_ipv6(daemons: Daemons) -> None:
    """Whichever step a daemon died before, the next one takes it."""
    found = RecordedShim()
    shim = cast(Shim, found)
    async with daemons.daemon() as first:  # dies before it told the shim
        held = await first.connect(container("ab", ":80", ":81"), None)
    one, two = sorted({port.host_port for port in held.ports})
    address = held.endpoints[0].ipv4
    async with daemons.daemon() as second:
        await second.restore([container("ab")])
        await second.carry_ports("ab" * 32, shim)
        both = {f"[::]:{one}/tcp": (address, 80), f"[::]:{two}/tcp": (address, 81)}
        assert found.forwards == both
        changed = container("ab", f"{one}:81")
        with second.republished(changed):
            pass  # dies before it told the shim of the change
    async with daemons.daemon() as third:
        await third.restore([changed])
        await third.carry_ports("ab" * 32, shim)
        assert found.forwards == {f"[::]:{one}/tcp": (address, 81)}
        clash = container("ab", f"{one}:81", f"[::1]:{one}:82")
        with (
            pytest.raises(KetchError, match=rf"::1:{one} failed: port is already"),
            third.republished(clash),
        ):
            raise AssertionError
        with third.republished(container("ab", f"{one}:82")):
            pass
        await third.carry_ports("ab" * 32, shim)
        assert found.forwards == {f"[::]:{one}/tcp": (address, 82)}
        await third.disconnect("ab" * 32)
        await third.carry_ports("ab" * 32, shim)
        assert not found.forwards
        await third.connect(container("ef", f"{one}:80", f"{two}:81"), None)


async def test_a_taken_port_takes_nothing(daemons: Daemons) -> None:
    async with daemons.daemon() as networks:
        first = await networks.connect(container("ab", ":80"), None)
        port = first.ports[0].host_port
        before = daemons.table()
        words = (
            rf"driver failed programming external connectivity on endpoint cd \([0-9a-f]{{64}}\): "
            rf"Bind for 0.0.0.0:{port} failed: port is already allocated"
        )
        with pytest.raises(KetchError, match=words):
            await networks.connect(container("cd", ":81", f"{port}:82"), None)
        assert daemons.table() == before
        await networks.disconnect("ab" * 32)
        assert is_free(port)
        assert (await networks.connect(container("cd", f"{port}:82"), None)).ports


async def test_warm_links_become_a_containers(daemons: Daemons) -> None:
    async with daemons.daemon() as networks:
        lease = await networks.reserve_warm()
        found = await networks.connect(container("ab"), lease)
        assert found.link is lease.link
        members = await networks.members((await networks.get("bridge")).id)
        assert [member.name for member in members] == ["ab"]
        await networks.release_warm(lease)  # no longer the pool's: changes nothing
        other = await networks.reserve_warm()
        assert other.endpoint.ipv4 != lease.endpoint.ipv4


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({BRIDGE_NAME: "eth0"}, Conflict),
        ({BRIDGE_NAME: "lo"}, Conflict),
        ({BRIDGE_NAME: "all"}, InvalidParameter),
        ({BRIDGE_NAME: "../x"}, InvalidParameter),
        ({BRIDGE_NAME: 'a"; }; flush'}, InvalidParameter),
        ({BRIDGE_NAME: "sixteen-bytes-xx"}, InvalidParameter),
        ({MTU: "abc"}, InvalidParameter),
        ({MTU: "9" * 5000}, InvalidParameter),
        ({MTU: "67"}, InvalidParameter),
        ({"x": "y"}, Unsupported),
        ({MASQUERADE: "maybe"}, InvalidParameter),
        ({HOST_BINDING: "::1"}, InvalidParameter),
        ({HOST_BINDING: "x"}, InvalidParameter),
        ({"com.docker.network.bridge.enable_icc": "false"}, Unsupported),
    ],
)
async def test_hostile_options(
    daemons: Daemons, options: dict[str, str], error: type[KetchError]
) -> None:
    async with daemons.daemon() as networks:
        before = len(await networks.list())
        with pytest.raises(error):
            await networks.create(NetworkSpec(name="n", options=options))
        assert len(await networks.list()) == before


async def test_a_users_network(daemons: Daemons) -> None:
    name = f"{daemons.tag}u"
    async with daemons.daemon() as networks:
        record = await networks.create(
            NetworkSpec(name="n", subnets=(("10.98.7.0/24", ""),), options={BRIDGE_NAME: name})
        )
        assert bridge.exists(name)
        found = await networks.connect(container("ab", network="n", ip="10.98.7.9"), None)
        assert found.endpoints[0].ipv4 == "10.98.7.9"
        with pytest.raises(Conflict, match="Address already in use"):
            await networks.connect(container("cd", network="n", ip="10.98.7.9"), None)
        with pytest.raises(InvalidParameter, match="user defined networks only"):
            await networks.connect(container("cd", ip="10.98.7.9"), None)
        with pytest.raises(Forbidden, match="has active endpoints"):
            await networks.remove("n")
        await networks.disconnect("ab" * 32)
        await networks.remove(record.id[:12])
        assert not bridge.exists(name)
        assert name not in daemons.table()


async def test_internal_networks_publish_nothing(daemons: Daemons) -> None:
    async with daemons.daemon() as networks:
        await networks.create(NetworkSpec(name="n", internal=True))
        with pytest.raises(Unsupported, match="internal network n"):
            await networks.connect(container("ab", ":80", network="n"), None)
        found = await networks.connect(container("ab", network="n"), None)
        assert found.link is not None
        assert found.link.gateways == ()


async def test_a_failed_create_leaves_nothing(
    daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{daemons.tag}u"
    async with daemons.daemon() as networks:

        def broken(*_: object) -> None:
            raise KetchError("no")

        monkeypatch.setattr(networks._firewall, "add_bridge", broken)
        with pytest.raises(KetchError, match="no"):
            await networks.create(NetworkSpec(name="n", options={BRIDGE_NAME: name}))
        assert not bridge.exists(name)
        assert len(await networks.list()) == 3


async def test_what_others_destroy_is_healed(
    daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_healing, "_EVERY", 0.05)
    async with daemons.daemon() as networks:
        await networks.connect(container("ab", ":80"), None)
        before = daemons.table()
        run("nft", "flush", "table", "ip", daemons.tag)
        run("ip", "link", "delete", daemons.tag)
        async with asyncio.timeout(60):
            while not (bridge.exists(daemons.tag) and daemons.table() == before):
                await asyncio.sleep(0.02)


async def test_healing_outlives_a_lack_of_files(
    daemons: Daemons, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who cannot look takes nothing for gone, and looks again later."""
    monkeypatch.setattr(network_healing, "_EVERY", 0.02)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with daemons.daemon(), asyncio.timeout(60):
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, before[1]))
        try:
            while "cannot look after the networks" not in caplog.text:
                await asyncio.sleep(0.02)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert "removed by somebody" not in caplog.text
        run("ip", "link", "delete", daemons.tag)
        while not bridge.exists(daemons.tag):
            await asyncio.sleep(0.02)


async def test_the_bridge_has_no_ipv6(daemons: Daemons) -> None:
    async with daemons.daemon() as networks:
        record = await networks.get("bridge")
    assert record.subnets[0][1] == daemons.config.bip.partition("/")[0]
    address = run("ip", "-o", "address", "show", "dev", daemons.tag)
    assert daemons.config.bip in address
    assert "inet6" not in address  # no router announces itself to the host


async def test_prune_spares_what_is_younger(daemons: Daemons) -> None:
    """``until`` in ns since the epoch, as the API gives it to all that prune."""
    async with daemons.daemon() as networks:
        made = await networks.create(NetworkSpec(name="young"))
        before, after = str(made.created_at), str(made.created_at + 1)
        assert not (await networks.prune({"until": (before,)})).deleted
        assert (await networks.prune({"until": (after,)})).deleted == ("young",)
        with pytest.raises(InvalidParameter, match="until"):
            await networks.prune({"until": ("noon",)})
