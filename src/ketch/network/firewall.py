"""The nftables table of ketch: masquerade, published ports, isolation.

One table of the ``ip`` family, rebuilt atomically at start from what is. Published ports are
elements of two maps (with and without a host address), so publishing one is a single element, not
rules.

- *prerouting, output*: packets to a local address whose port is published get the container's
  address.
- *postrouting*: what leaves a bridge's subnet by another interface is masqueraded; so is what a
  container sends to a published port that ends on its own bridge (the answer must come back through
  the host), and what the host sends from a loopback address.
- *forward*: into a bridge only answers and published ports; between bridges nothing else; internal
  networks reach nothing outside.
- *raw*: nobody reaches the host's loopback addresses through a bridge, which route_localnet (needed
  to publish on 127.0.0.1) would otherwise allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from ketch.errors import Unavailable
from ketch.linux import nft


class BridgeRules(msgspec.Struct, frozen=True):
    """A bridge as the rules see it; without ``masquerade`` its containers keep their addresses
    beyond the host."""

    name: str
    subnet: str
    internal: bool = False
    masquerade: bool = True


class Forward(msgspec.Struct, frozen=True):
    """One published port; ``host_ip`` empty means every local address."""

    protocol: str
    host_ip: str
    host_port: int
    address: str
    port: int

    @property
    def map(self) -> str:
        """The map that holds it."""
        return "published_at" if self.host_ip else "published"

    @property
    def key(self) -> str:
        """Its key there."""
        where = f"{self.host_ip} . " if self.host_ip else ""
        return f"{where}{self.protocol} . {self.host_port}"

    @property
    def element(self) -> str:
        """Key and target in nft syntax."""
        return f"{self.key} : {self.address} . {self.port}"


_ELEMENTS = re.compile(r"\s*elements = \{([^}]*)\}")
_DNAT = """
    fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @published_at
    fib daddr type local dnat ip to meta l4proto . th dport map @published"""

_TABLE = """
add table ip {table}
delete table ip {table}
table ip {table} {{
  set bridges {{ type ifname; {bridges} }}
  set internal {{ type ifname; {internal} }}
  set same {{ type ifname . ifname; {same} }}
  map published {{ type inet_proto . inet_service : ipv4_addr . inet_service; {published} }}
  map published_at {{
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; {published_at}
  }}
  chain raw {{
    type filter hook prerouting priority raw; policy accept;
    iifname @bridges ip daddr 127.0.0.0/8 drop
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr 127.0.0.0/8 return comment "a map would come before the check for martians"{dnat}
  }}
  chain output {{
    type nat hook output priority -100; policy accept;{dnat}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname @bridges ip saddr 127.0.0.0/8 masquerade
    oifname @bridges ct status dnat fib saddr type local masquerade
{masquerade}
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
    iifname . oifname @same accept
    iifname @internal drop
    oifname @internal drop
    ct status dnat accept
    oifname @bridges drop
  }}
}}
"""


class Firewall:
    """The table ``name``; remembers what it should hold, so that it can be made again."""

    def __init__(self, name: str = "ketch") -> None:
        self.name = name
        self._rules = ""  # the table without its elements, as nft lists it
        self._bridges: dict[str, BridgeRules] = {}
        self._forwards: dict[tuple[str, str], Forward] = {}

    def rebuild(self, bridges: Iterable[BridgeRules], forwards: Iterable[Forward]) -> None:
        """Replace the whole table in one transaction; stale elements vanish."""
        self._bridges = {bridge.name: bridge for bridge in bridges}
        self._forwards = {(forward.map, forward.key): forward for forward in forwards}
        self.heal()

    def add_bridge(self, bridge: BridgeRules) -> None:
        """Rules for one more bridge."""
        self.rebuild([*self._bridges.values(), bridge], self._forwards.values())

    def remove_bridge(self, name: str) -> None:
        """No more rules for a bridge."""
        rest = [bridge for bridge in self._bridges.values() if bridge.name != name]
        self.rebuild(rest, self._forwards.values())

    def publish(self, forwards: Iterable[Forward]) -> None:
        """Publish ports, all or none."""
        wanted = list(forwards)
        changes = "".join(self._change("add", forward, forward.element) for forward in wanted)
        try:
            self._run(changes)
        except Unavailable:
            if self.is_intact():
                raise
            self.heal()  # somebody flushed the table
            self._run(changes)
        self._forwards.update({(forward.map, forward.key): forward for forward in wanted})

    def unpublish(self, forwards: Iterable[Forward]) -> None:
        """Take published ports back; ports that are not there are no error."""
        known = [f for f in forwards if self._forwards.pop((f.map, f.key), None) is not None]
        try:
            self._run("".join(self._change("delete", forward, forward.key) for forward in known))
        except Unavailable:
            self.heal()  # somebody flushed the table: make it anew, without these

    def exchange(self, old: Iterable[Forward], new: Iterable[Forward]) -> None:
        """Take ports back and publish others in one transaction: all or nothing."""
        gone = [f for f in old if (f.map, f.key) in self._forwards]
        come = list(new)
        changes = "".join(self._change("delete", forward, forward.key) for forward in gone)
        changes += "".join(self._change("add", forward, forward.element) for forward in come)
        try:
            self._run(changes)
        except Unavailable:
            if self.is_intact():
                raise
            self.heal()  # somebody flushed the table
            self._run(changes)
        for forward in gone:
            del self._forwards[(forward.map, forward.key)]
        self._forwards.update({(forward.map, forward.key): forward for forward in come})

    def heal(self) -> None:
        """Make the table again as it should be."""
        self._run(self._text())
        self._rules, _ = self._listed()

    def is_intact(self) -> bool:
        """Whether the table has the rules and the ports that it should have.

        In a thread beside the one that publishes it may say no by mistake: ask again there.
        """
        bridges = self._bridges.values()
        wanted = {f'"{bridge.name}" . "{bridge.name}"' for bridge in bridges}
        wanted |= {f'"{bridge.name}"' for bridge in bridges}
        wanted |= {forward.element for forward in tuple(self._forwards.values())}
        return self._listed() == (self._rules, wanted)

    def _listed(self) -> tuple[str, set[str]]:
        """The table as it is: its rules, and the elements of all its sets and maps."""
        try:
            listed = nft.run(f"list table ip {self.name}")
        except nft.NftError:
            return "", set()
        elements = {
            " ".join(element.split())
            for group in _ELEMENTS.findall(listed)
            for element in group.split(",")
        }
        return _ELEMENTS.sub("", listed), elements

    def is_shut_by_others(self) -> bool:
        """Whether iptables' own table drops what is forwarded, unless a rule there accepts it.

        Docker and ufw set that; a packet has to pass their table and ours.
        """
        try:
            return "policy drop" in nft.run("list chain ip filter FORWARD")
        except OSError:
            return False

    def remove(self) -> None:
        """Remove the table."""
        self._run(f"add table ip {self.name}\ndelete table ip {self.name}\n")

    def _change(self, verb: str, forward: Forward, element: str) -> str:
        return f"{verb} element ip {self.name} {forward.map} {{ {element} }}\n"

    def _text(self) -> str:
        bridges = self._bridges.values()
        outward = [bridge for bridge in bridges if not bridge.internal]
        masquerade = "\n".join(
            [
                f'    ip saddr {bridge.subnet} oifname != "{bridge.name}" masquerade'
                for bridge in outward
                if bridge.masquerade
            ]
            + [
                f'    ip saddr {bridge.subnet} oifname "{bridge.name}" ct status dnat masquerade'
                for bridge in outward
            ]
        )
        forwards = self._forwards.values()
        return _TABLE.format(
            table=self.name,
            bridges=_elements(f'"{bridge.name}"' for bridge in bridges),
            internal=_elements(f'"{bridge.name}"' for bridge in bridges if bridge.internal),
            same=_elements(f'"{bridge.name}" . "{bridge.name}"' for bridge in bridges),
            published=_elements(f.element for f in forwards if not f.host_ip),
            published_at=_elements(f.element for f in forwards if f.host_ip),
            dnat=_DNAT,
            masquerade=masquerade,
        )

    def _run(self, commands: str) -> None:
        if not commands:
            return
        try:
            nft.run(commands)
        except OSError as error:
            raise Unavailable(f"cannot change the firewall table {self.name}: {error}") from None


def _elements(words: Iterable[str]) -> str:
    found = ", ".join(words)
    return f"elements = {{ {found} }};" if found else ""
