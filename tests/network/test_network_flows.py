"""Bridges, links and published ports on the real kernel: who reaches whom."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from free_networks import free_octet
from ketch.errors import Unavailable
from ketch.links import Link
from ketch.linux import conntrack, links
from ketch.network import bridge
from ketch.network.firewall import BridgeRules, Firewall, Forward
from ketch.network.ports import EVERY_IPV4, EVERY_IPV6, HostPorts, PortTaken, addresses_of

pytestmark = pytest.mark.root

SERVE = (
    "import socket,sys; s=socket.create_server(('0.0.0.0', 80)); print('up', flush=True)\n"
    "while True:\n c,a=s.accept(); c.sendall(a[0].encode()); c.close()"
)
ASK = (
    "import socket,sys\ntry:\n"
    " s=socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]))\n"
    " print(s.recv(99).decode())\nexcept OSError as e: print('no')"
)
PATIENCE, MOMENT = "60", "0.6"  # seconds: for an answer, and for none

SERVE_UDP = (
    "import socket,sys; s=socket.socket(type=socket.SOCK_DGRAM); s.bind(('0.0.0.0', 53));"
    " print('up', flush=True)\n"
    "while True:\n d,a=s.recvfrom(9); s.sendto(sys.argv[1].encode(), a)"
)
ASK_UDP = (
    "import socket,sys; s=socket.socket(type=socket.SOCK_DGRAM); s.settimeout(60)\n"
    "s.connect((sys.argv[1], int(sys.argv[2])))\n"
    "for line in sys.stdin:\n s.send(b'?'); print(s.recv(9).decode(), flush=True)"
)


class Talker:
    """A program in a sandbox that answers lines."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.hear()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


class Sandbox:
    """A process in a network namespace of its own, with one link."""

    def __init__(self, bridge_name: str, address: str, gateway: str) -> None:
        self.address = address
        self.process = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "echo made; exec sleep 300"], stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.link = Link(
            name="eth0",
            host_name=f"ktv{secrets.token_hex(4)}",
            bridge=bridge_name,
            mac="02:42:" + ":".join(f"{int(part):02x}" for part in address.split(".")),
            addresses=(f"{address}/24",),
            gateways=(gateway,),
        )
        links.plug(self.link, self.process.pid)
        self._run("ip", "link", "set", "lo", "up")
        self.server: subprocess.Popen[bytes] | None = None

    def _command(self, *words: str) -> list[str]:
        return ["nsenter", "-t", str(self.process.pid), "-n", *words]

    def _run(self, *words: str) -> str:
        return subprocess.run(
            self._command(*words), capture_output=True, text=True, check=True
        ).stdout

    def aim_at_loopback(self, gateway: str) -> None:
        """Send packets for 127.0.0.0/8 to the gateway, as an attacker on its network can."""
        self._run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet")
        self._run("ip", "address", "flush", "dev", "lo")
        self._run("ip", "route", "add", "127.0.0.0/8", "via", gateway)

    def serve(self) -> None:
        self.server = subprocess.Popen(
            self._command(sys.executable, "-c", SERVE), stdout=subprocess.PIPE
        )
        assert self.server.stdout is not None
        self.server.stdout.readline()

    def serve_udp(self, word: str) -> Talker:
        server = Talker(self._command(sys.executable, "-c", SERVE_UDP, word))
        server.hear()
        return server

    def sends_udp(self, address: str, port: int) -> Talker:
        return Talker(self._command(sys.executable, "-c", ASK_UDP, address, str(port)))

    def ask(self, address: str, port: int, patience: str = PATIENCE) -> str:
        return self._run(sys.executable, "-c", ASK, address, str(port), patience).strip()

    def reaches(self, address: str, port: int) -> bool:
        """For what is expected to be shut: it is waited for a moment only."""
        return self.ask(address, port, MOMENT) != "no"

    def close(self) -> None:
        for process in (self.server, self.process):
            if process is not None:
                process.kill()
                process.wait()
                assert process.stdout is not None
                process.stdout.close()


class World:
    """Two networks and an internal one behind one table; another bridge plays the LAN."""

    def __init__(self) -> None:
        tag = secrets.token_hex(3)
        self.octet = free_octet("10")
        self.sandboxes: list[Sandbox] = []
        self.bridges = [f"kt{tag}a", f"kt{tag}b", f"kt{tag}l", f"kt{tag}i"]
        self.firewall = Firewall(f"kt{tag}")
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def at(self, network: int, number: int, prefix: str = "") -> str:
        """An address: networks 0 and 1, the LAN 2, the internal one 3; 1 is the gateway."""
        return f"10.{self.octet}.{network}.{number}{prefix}"

    def port(self, number: int) -> int:
        """A port of the host that no other run of the tests has; numbers are 50 to 89."""
        return 10_000 + 40 * self.octet + number

    def _make(self) -> None:
        rules = []
        links.make_bridge(self.bridges[2], (self.at(2, 1, "/24"),))
        for index, name in enumerate(self.bridges[:2]):
            bridge.ensure(name, self.at(index, 1, "/24"), 0)
            rules.append(BridgeRules(name, self.at(index, 0, "/24")))
        bridge.ensure(self.bridges[3], self.at(3, 1, "/24"), 0)
        rules.append(BridgeRules(self.bridges[3], self.at(3, 0, "/24"), internal=True))
        self.firewall.rebuild(rules, ())
        self.server = self._sandbox(self.bridges[0], self.at(0, 2), self.at(0, 1))
        self.neighbour = self._sandbox(self.bridges[0], self.at(0, 3), self.at(0, 1))
        self.stranger = self._sandbox(self.bridges[1], self.at(1, 2), self.at(1, 1))
        self.outsider = self._sandbox(self.bridges[2], self.at(2, 2), self.at(2, 1))
        self.inmate = self._sandbox(self.bridges[3], self.at(3, 2), self.at(3, 1))
        for sandbox in (self.server, self.outsider, self.inmate):
            sandbox.serve()

    def _sandbox(self, *words: str) -> Sandbox:
        self.sandboxes.append(Sandbox(*words))
        return self.sandboxes[-1]

    def close(self) -> None:
        for sandbox in self.sandboxes:
            sandbox.close()
        self.firewall.remove()
        for name in self.bridges:
            bridge.remove(name)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with open("/proc/sys/net/ipv4/ip_forward") as file:
        before = file.read()
    bridge.enable_forwarding()
    made = World()
    try:
        yield made
    finally:
        made.close()
        with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write(before)


def ask_from_host(address: str, port: int, patience: str = PATIENCE) -> str:
    done = subprocess.run(
        [sys.executable, "-c", ASK, address, str(port), patience],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def host_reaches(address: str, port: int) -> bool:
    return ask_from_host(address, port, MOMENT) != "no"


def test_published_port_from_everywhere(world: World) -> None:
    forward = Forward("tcp", "", world.port(80), world.at(0, 2), 80)
    world.firewall.publish([forward])
    try:
        host_address = world.at(1, 1)
        assert ask_from_host("127.0.0.1", world.port(80)) == world.at(0, 1)
        assert ask_from_host(host_address, world.port(80)) == world.at(0, 1)
        assert world.neighbour.ask(world.at(0, 1), world.port(80)) == world.at(0, 1)  # hairpin
        assert world.server.ask(world.at(0, 1), world.port(80)) == world.at(0, 1)  # to itself
        assert world.stranger.ask(host_address, world.port(80)) == world.at(0, 1)
    finally:
        world.firewall.unpublish([forward])
    assert not host_reaches("127.0.0.1", world.port(80))


def test_udp_senders_follow_the_port_to_its_new_container(world: World) -> None:
    """Flows have no end: without forgetting them the sender reaches the old target for ever."""
    old = Forward("udp", "", world.port(53), world.at(0, 2), 53)
    new = Forward("udp", "", world.port(53), world.at(0, 3), 53)
    servers = [world.server.serve_udp("old"), world.neighbour.serve_udp("new")]
    sender = world.outsider.sends_udp(world.at(2, 1), world.port(53))
    try:
        world.firewall.publish([old])
        assert sender.ask() == "old"
        world.firewall.unpublish([old])
        world.firewall.publish([new])
        assert sender.ask() == "old"  # the kernel's way
        assert conntrack.forget(socket.IPPROTO_UDP, {world.port(53), world.port(54)}) >= 1
        assert sender.ask() == "new"
        assert conntrack.forget(socket.IPPROTO_UDP, {world.port(54)}) == 0
    finally:
        world.firewall.unpublish([new])
        for process in (*servers, sender):
            process.close()


def test_published_on_loopback_only(world: World) -> None:
    forward = Forward("tcp", "127.0.0.1", world.port(81), world.at(0, 2), 80)
    world.firewall.publish([forward])
    try:
        assert ask_from_host("127.0.0.1", world.port(81)) == world.at(0, 1)
        assert not host_reaches(world.at(1, 1), world.port(81))
        assert not world.neighbour.reaches(world.at(0, 1), world.port(81))
    finally:
        world.firewall.unpublish([forward])


def test_the_gateways_hardware_address_stays(world: World) -> None:
    """A container's ARP entry of the gateway is good however its neighbours come and go."""

    def hardware() -> str:
        with open(f"/sys/class/net/{world.bridges[0]}/address") as file:
            return file.read().strip()

    assert hardware() == f"02:42:0a:{world.octet:02x}:00:01"
    sandbox = Sandbox(world.bridges[0], world.at(0, 77), world.at(0, 1))
    subprocess.run(
        ["ip", "link", "set", sandbox.link.host_name, "address", "02:00:00:00:00:01"], check=True
    )
    assert hardware() == f"02:42:0a:{world.octet:02x}:00:01"
    sandbox.close()


def test_a_sandbox_takes_no_ipv6_routers(world: World) -> None:
    assert "inet6" not in world.neighbour._run("ip", "-o", "address", "show", "dev", "eth0")


def test_a_removed_bridge_comes_back_with_its_ports(world: World) -> None:
    name = world.bridges[1]
    bridge.remove(name)
    ends = [world.stranger.link.host_name, "ktgone"]
    bridge.remake(name, world.at(1, 1, "/24"), 0, ends)
    forward = Forward("tcp", "", world.port(87), world.at(0, 2), 80)
    world.firewall.publish([forward])
    try:
        assert world.stranger.ask(world.at(1, 1), world.port(87)) == world.at(0, 1)
    finally:
        world.firewall.unpublish([forward])


def test_neighbours_talk_and_bridges_do_not(world: World) -> None:
    assert world.neighbour.ask(world.at(0, 2), 80) == world.at(0, 3)
    assert not world.stranger.reaches(world.at(0, 2), 80)


def test_loopback_of_the_host_is_out_of_reach(world: World) -> None:
    """Neither its services nor ports published on 127.0.0.1, from containers or from the LAN."""
    forward = Forward("tcp", "127.0.0.1", world.port(82), world.at(0, 2), 80)
    world.firewall.publish([forward])
    attackers = (
        world._sandbox(world.bridges[1], world.at(1, 3), world.at(1, 1)),
        world._sandbox(world.bridges[2], world.at(2, 3), world.at(2, 1)),
    )
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            for index, attacker in enumerate(attackers, 1):
                attacker.aim_at_loopback(world.at(index, 1))
                assert not attacker.reaches("127.0.0.1", server.getsockname()[1])
                assert not attacker.reaches("127.0.0.1", world.port(82))
        assert ask_from_host("127.0.0.1", world.port(82)) == world.at(0, 1)
    finally:
        world.firewall.unpublish([forward])


def test_a_network_that_keeps_its_addresses(world: World) -> None:
    """Without masquerade the LAN sees the container, and answers by way of the host."""
    rules = BridgeRules(world.bridges[0], world.at(0, 0, "/24"))
    assert world.neighbour.ask(world.at(2, 2), 80) == world.at(2, 1)
    world.firewall.add_bridge(msgspec.structs.replace(rules, masquerade=False))
    forward = Forward("tcp", "", world.port(86), world.at(0, 2), 80)
    try:
        assert world.firewall.is_intact()
        assert world.neighbour.ask(world.at(2, 2), 80) == world.at(0, 3)
        world.firewall.publish([forward])
        assert world.neighbour.ask(world.at(0, 1), world.port(86)) == world.at(0, 1)  # hairpin
    finally:
        world.firewall.unpublish([forward])
        world.firewall.add_bridge(rules)


def test_an_internal_network_is_shut_both_ways(world: World) -> None:
    """Even for a member that gave itself a default route."""
    outwards = Forward("tcp", "", world.port(88), world.at(0, 2), 80)
    inwards = Forward("tcp", "", world.port(89), world.at(3, 2), 80)
    world.firewall.publish([outwards, inwards])
    fellow = world._sandbox(world.bridges[3], world.at(3, 3), world.at(3, 1))
    try:
        assert fellow.ask(world.at(3, 2), 80) == world.at(3, 3)
        assert not world.inmate.reaches(world.at(2, 2), 80)
        assert not world.inmate.reaches(world.at(0, 2), 80)
        assert not world.inmate.reaches(world.at(0, 1), world.port(88))
        assert not world.stranger.reaches(world.at(3, 2), 80)
        assert not world.outsider.reaches(world.at(3, 2), 80)
        assert not world.outsider.reaches(world.at(2, 1), world.port(89))
    finally:
        world.firewall.unpublish([outwards, inwards])


def test_what_leaves_is_masqueraded(world: World) -> None:
    assert world.server.ask(world.at(2, 2), 80) == world.at(2, 1)
    assert world.stranger.ask(world.at(2, 2), 80) == world.at(2, 1)


def test_the_lan_reaches_published_ports_only(world: World) -> None:
    forward = Forward("tcp", "", world.port(83), world.at(0, 2), 80)
    world.firewall.publish([forward])
    try:
        its_own = world.outsider.ask(world.at(2, 1), world.port(83))
        assert its_own == world.at(2, 2)
        assert not world.outsider.reaches(world.at(0, 2), 80)
    finally:
        world.firewall.unpublish([forward])


def test_flushed_rules_are_noticed_and_made_again(world: World) -> None:
    forwards = [
        Forward("tcp", "", world.port(84), world.at(0, 2), 80),
        Forward("udp", "", 53, "10.0.0.2", 53),
    ]
    forwards.append(Forward("tcp", world.at(0, 1), world.port(85), world.at(0, 2), 80))
    world.firewall.publish(forwards)
    name = world.firewall.name
    for harm in (
        f"delete table ip {name}",
        f"flush table ip {name}",
        f"flush chain ip {name} forward",
        f"flush map ip {name} published",
        f"delete element ip {name} published {{ udp . 53 }}",
    ):
        assert world.firewall.is_intact()
        subprocess.run(["nft", harm], check=True)
        assert not world.firewall.is_intact(), harm
        world.firewall.heal()
    world.firewall.unpublish(forwards)
    assert world.firewall.is_intact()


def test_publishing_into_a_flushed_table(world: World) -> None:
    forward = Forward("tcp", "", world.port(86), world.at(0, 2), 80)
    subprocess.run(["nft", "delete", "table", "ip", world.firewall.name], check=True)
    world.firewall.publish([forward])
    assert ask_from_host("127.0.0.1", world.port(86)) == world.at(0, 1)
    subprocess.run(["nft", "delete", "table", "ip", world.firewall.name], check=True)
    world.firewall.unpublish([forward])
    assert world.firewall.is_intact()


def test_a_process_with_thousands_of_open_files_changes_rules() -> None:
    """libnftables aborts it when its socket has a number of 1024 or more."""
    name = f"kt{secrets.token_hex(3)}"
    code = (
        "import os, resource; from ketch.linux import nft\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2000), hard))\n"
        "nft.run('list tables')\n"
        "files = [os.open('/dev/null', os.O_RDONLY) for _ in range(1100)]\n"
        f"nft.run('add table ip {name}; delete table ip {name}')\n"
        "print('alive', files[-1] > 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "alive True\n"


def test_a_refused_change_is_an_error(world: World) -> None:
    with pytest.raises(Unavailable, match="cannot change the firewall"):
        world.firewall.publish([Forward("nonsense", "", 1, "10.0.0.1", 1)])


def test_ports_are_held() -> None:
    ports = HostPorts()
    try:
        first = ports.hold("tcp", ("127.0.0.1",), "")
        with pytest.raises(PortTaken, match="port is already allocated"):
            ports.hold("tcp", ("127.0.0.1",), str(first))
        with pytest.raises(PortTaken):
            ports.hold("tcp", ("0.0.0.0",), str(first))
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", first))
        assert ports.hold("tcp", ("127.0.0.1",), f"{first}-{first + 5}") != first
        assert ports.hold("udp", ("127.0.0.1",), str(first)) == first
        ports.release("tcp", "127.0.0.1", first)
        assert ports.hold("tcp", ("127.0.0.1",), str(first)) == first
    finally:
        ports.close()


def test_a_port_is_the_same_on_all_addresses() -> None:
    ports = HostPorts()
    everywhere = (EVERY_IPV4, EVERY_IPV6)
    try:
        with socket.socket(socket.AF_INET6) as other:
            other.bind(("::1", 0))
            taken = other.getsockname()[1]
            with pytest.raises(
                PortTaken, match=rf"Bind for :::{taken} failed: address already in use"
            ):
                ports.hold("tcp", everywhere, str(taken))
            assert not ports.is_held("tcp", EVERY_IPV4, taken)
            assert ports.hold("tcp", (EVERY_IPV4,), str(taken)) == taken  # nothing was kept
        port = ports.hold("tcp", everywhere, "")
        for address in ("127.0.0.1", "::1", EVERY_IPV6):
            with pytest.raises(PortTaken, match="port is already allocated"):
                ports.hold("tcp", (address,), str(port))
        with pytest.raises(PortTaken, match=r"Bind for fd99::7:\d+ failed: cannot assign"):
            ports.hold("tcp", ("fd99::7",), "")
    finally:
        ports.close()


def test_addresses_to_publish_on() -> None:
    assert addresses_of("") == ("0.0.0.0", "::")
    assert addresses_of("0.0.0.0") == ("0.0.0.0",)
    assert addresses_of("0:0::1") == ("::1",)
    assert addresses_of("::ffff:127.0.0.1") == ("127.0.0.1",)
    code = (
        "from ketch.network.ports import addresses_of; print(addresses_of(''), addresses_of('::'))"
    )
    command = ["unshare", "--net", sys.executable, "-c", code]  # its loopback is down
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "('0.0.0.0',) ('::',)\n"


def test_the_pair_dies_with_its_namespace(world: World) -> None:
    sandbox = Sandbox(world.bridges[1], world.at(1, 9), world.at(1, 1))
    assert os.path.exists(f"/sys/class/net/{sandbox.link.host_name}")
    links.unplug(sandbox.link.host_name)
    assert not os.path.exists(f"/sys/class/net/{sandbox.link.host_name}")
    links.unplug(sandbox.link.host_name)
    sandbox.close()
