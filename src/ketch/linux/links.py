"""Executing a ``Link``: a veth pair between a bridge of the host and a sandbox.

Two round trips: one message on the host makes the pair with our end up and on the bridge, the
peer already in the sandbox's namespace; one there brings it up and sets addresses and routes (a
peer that is born up is refused with ENOTCONN, since the pair is not complete yet: veth_open of
Linux 6.x). Needs CAP_NET_ADMIN in both and CAP_SYS_ADMIN for setns(2). On the launcher's import
path.

Never delete a veth where somebody waits: RTM_DELLINK costs an RCU grace period under the rtnl lock.
A pair dies with its network namespace.
"""

import _socket
import os
import struct

from ketch.linux import netlink
from ketch.linux.namespaces import CLONE_NEWNET, setns
from ketch.linux.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_DELLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    attribute,
    link_header,
    number,
    text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.links import Link

NEW = NLM_F_CREATE | NLM_F_EXCL


def plug(link: "Link", pid: int) -> None:
    """Make the link between the caller's network namespace and that of ``pid``.

    Raises OSError; then nothing is left but what dies with the sandbox's namespace.
    """
    with netlink.Route() as route:
        _make(link, route, pid)
    with InNamespace(pid):
        _finish(link)


def plug_here(link: "Link", host: netlink.Route) -> None:
    """``plug`` for a process that is in the sandbox's namespaces already.

    ``host`` is a socket of the network namespace where the bridge is.
    """
    _make(link, host, os.getpid())
    _finish(link)


def _make(link: "Link", host: netlink.Route, pid: int) -> None:
    pair = (RTM_NEWLINK, NEW, _pair(link, host.index_of(link.bridge), pid))
    host.request(pair, (RTM_NEWLINK, 0, _hairpin(link.host_name)))


def _finish(link: "Link") -> None:
    """The sandbox's end, in whose namespace the caller is."""
    if not any(":" in address for address in link.addresses):
        disable_ipv6(link.name)
    with netlink.Route() as route:
        route.request(*_inside(link))


def disable_ipv6(name: str) -> None:
    """No IPv6 on an interface of the caller's namespace (ip-sysctl.rst, disable_ipv6).

    It has no address of ours, but would take one, and a default route, from whoever on its bridge
    announces itself as a router. No error where the kernel has no IPv6.
    """
    try:
        fd = os.open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.write(fd, b"1")
    finally:
        os.close(fd)


def unplug(host_name: str) -> None:
    """Remove a link by its host end; slow (see above); no error when it is gone."""
    try:
        index = _socket.if_nametoindex(host_name)
    except OSError:
        return
    with netlink.Route() as route:
        route.request((RTM_DELLINK, 0, link_header(index=index)))


class InNamespace:
    """Context manager: the calling thread is in the network namespace of ``pid``."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._home = -1

    def __enter__(self) -> "InNamespace":
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            target = os.open(f"/proc/{self._pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                setns(target, CLONE_NEWNET)
            finally:
                os.close(target)
        except BaseException:
            os.close(self._home)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            setns(self._home, CLONE_NEWNET)
        finally:
            os.close(self._home)


def _pair(link: "Link", bridge: int, pid: int) -> bytes:
    """RTM_NEWLINK of a veth whose peer is born in the namespace of ``pid``."""
    mtu = number(netlink.IFLA_MTU, link.mtu) if link.mtu else b""
    up = link_header(flags=netlink.IFF_UP, change=netlink.IFF_UP)
    peer = (
        link_header()
        + text(netlink.IFLA_IFNAME, link.name)
        + attribute(netlink.IFLA_ADDRESS, _hardware(link.mac))
        + number(netlink.IFLA_NET_NS_PID, pid)
        + mtu
    )
    data = attribute(netlink.IFLA_INFO_DATA, attribute(netlink.VETH_INFO_PEER, peer))
    return (
        up
        + text(netlink.IFLA_IFNAME, link.host_name)
        + number(netlink.IFLA_MASTER, bridge)
        + mtu
        + attribute(netlink.IFLA_LINKINFO, text(netlink.IFLA_INFO_KIND, "veth") + data)
    )


def _hairpin(host_name: str) -> bytes:
    """Let the bridge send back to this port: a container that asks its own published port."""
    mode = attribute(netlink.IFLA_BRPORT_MODE, b"\x01")
    kind = text(netlink.IFLA_INFO_SLAVE_KIND, "bridge")
    data = attribute(netlink.IFLA_INFO_SLAVE_DATA, mode)
    name = text(netlink.IFLA_IFNAME, host_name)
    return link_header() + name + attribute(netlink.IFLA_LINKINFO, kind + data)


def _inside(link: "Link") -> "list[tuple[int, int, bytes]]":
    """Addresses and default routes, to be sent inside the namespace."""
    index = _socket.if_nametoindex(link.name)
    up = link_header(index=index, flags=netlink.IFF_UP, change=netlink.IFF_UP)
    messages = [(RTM_NEWLINK, 0, up)]
    messages += [(RTM_NEWADDR, NEW, address(index, one)) for one in link.addresses]
    messages += [(RTM_NEWROUTE, NEW, _default_route(index, via)) for via in link.gateways]
    return messages


def address(index: int, text: str) -> bytes:
    """RTM_NEWADDR of ``"172.17.0.2/16"`` or an IPv6 one (without duplicate address detection)."""
    host, _, prefix = text.partition("/")
    family, packed = _packed(host)
    flags = netlink.IFA_F_NODAD if family == _socket.AF_INET6 else 0
    body = struct.pack("=BBBBi", family, int(prefix), flags, 0, index)
    body += attribute(netlink.IFA_LOCAL, packed) + attribute(netlink.IFA_ADDRESS, packed)
    if family == _socket.AF_INET and int(prefix) < 31:
        mask = (1 << (32 - int(prefix))) - 1
        last = (int.from_bytes(packed, "big") | mask).to_bytes(4, "big")
        body += attribute(netlink.IFA_BROADCAST, last)
    return body


def enslave(host_name: str, bridge: str) -> None:
    """Put a link's host end on a bridge again, that was removed and made anew."""
    master = number(netlink.IFLA_MASTER, _socket.if_nametoindex(bridge))
    name = text(netlink.IFLA_IFNAME, host_name)
    with netlink.Route() as route:
        on = (RTM_NEWLINK, 0, link_header() + name + master)
        route.request(on, (RTM_NEWLINK, 0, _hairpin(host_name)))


def _default_route(index: int, gateway: str) -> bytes:
    family, packed = _packed(gateway)
    table, protocol, kind = netlink.RT_TABLE_MAIN, netlink.RTPROT_BOOT, netlink.RTN_UNICAST
    body = struct.pack("=BBBBBBBBI", family, 0, 0, 0, table, protocol, 0, kind, 0)
    return body + attribute(netlink.RTA_GATEWAY, packed) + number(netlink.RTA_OIF, index)


def _hardware(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _packed(host: str) -> "tuple[int, bytes]":
    family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
    return family, _socket.inet_pton(family, host)


def make_bridge(name: str, addresses: "tuple[str, ...]", mtu: int = 0, mac: str = "") -> None:
    """Make a bridge if it is missing, set its addresses, bring it up; safe to repeat.

    Without ``mac`` it takes the lowest of its ports' (br_stp_recalculate_bridge_id), which changes
    as they come and go, and who knew the old one is cut off until its ARP entry ends. Raises
    OSError (EOPNOTSUPP) when an interface of this name is no bridge.
    """
    options = number(netlink.IFLA_MTU, mtu) if mtu else b""
    options += attribute(netlink.IFLA_ADDRESS, _hardware(mac)) if mac else b""
    kind = text(netlink.IFLA_INFO_KIND, "bridge") + attribute(netlink.IFLA_INFO_DATA, b"")
    whole = text(netlink.IFLA_IFNAME, name) + options + attribute(netlink.IFLA_LINKINFO, kind)
    with netlink.Route() as route:
        try:
            route.request((RTM_NEWLINK, NEW, link_header() + whole))
        except FileExistsError:
            route.request((RTM_NEWLINK, 0, link_header() + whole))
        index = _socket.if_nametoindex(name)
        for one in addresses:
            replace = NLM_F_CREATE | netlink.NLM_F_REPLACE
            route.request((RTM_NEWADDR, replace, address(index, one)))
        up = link_header(index=index, flags=netlink.IFF_UP, change=netlink.IFF_UP)
        route.request((RTM_NEWLINK, 0, up))
