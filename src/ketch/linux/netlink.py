"""rtnetlink messages, packed by hand (rtnetlink(7)): as much as links, addresses and routes need.

On the launcher's import path. Several requests go out in one send and their acknowledgements are
read together: one round trip for a whole link.
"""

import _socket
import fcntl
import struct

RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_NEWROUTE = 16, 17, 20, 24
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE, NLM_F_REPLACE = 1, 4, 0x200, 0x400, 0x100
NLMSG_ERROR = 2
IFF_UP = 1
IFA_F_NODAD = 2

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER = 1, 3, 4, 10
IFLA_LINKINFO, IFLA_NET_NS_PID, IFLA_NET_NS_FD = 18, 19, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA, IFLA_BRPORT_MODE = 4, 5, 4
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
RTA_OIF, RTA_GATEWAY = 4, 5
RT_TABLE_MAIN, RTPROT_BOOT, RTN_UNICAST = 254, 3, 1

AF_NETLINK, NETLINK_ROUTE = 16, 0
_RECEIVE = 65536
_SIOCGIFINDEX = 0x8933
_HEADER = struct.Struct("=IHHII")


def attribute(kind: int, payload: bytes) -> bytes:
    """One ``struct rtattr`` with padding."""
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + b"\0" * (-length % 4)


def text(kind: int, value: str) -> bytes:
    """An attribute that holds a zero-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """An attribute that holds a 32-bit number."""
    return attribute(kind, struct.pack("=I", value))


def link_header(*, index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    """``struct ifinfomsg``."""
    return struct.pack("=BxHiII", 0, 0, index, flags, change)


class Route:
    """A NETLINK_ROUTE socket of the network namespace in which it was made."""

    def __init__(self, fd: int = -1) -> None:
        """With ``fd``, a socket that ``detach`` gave."""
        if fd >= 0:
            self._sock = _socket.socket(AF_NETLINK, _socket.SOCK_RAW, NETLINK_ROUTE, fd)
        else:
            kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
            self._sock = _socket.socket(AF_NETLINK, kind, NETLINK_ROUTE)
            self._sock.bind((0, 0))
        self._sequence = 0

    def detach(self) -> int:
        """The socket as an fd, to be closed by the caller."""
        return self._sock.detach()

    def index_of(self, name: str) -> int:
        """The number of an interface of its network namespace; raises OSError (netdevice(7))."""
        request = struct.pack("16si", name.encode(), 0)
        request = fcntl.ioctl(self._sock.fileno(), _SIOCGIFINDEX, request + bytes(20))
        return int(struct.unpack_from("i", request, 16)[0])

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def __enter__(self) -> "Route":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, *messages: "tuple[int, int, bytes]") -> None:
        """Send (type, flags, body) messages together; raises OSError of the first that failed."""
        first = self._sequence + 1
        out = b""
        for kind, flags, body in messages:
            self._sequence += 1
            length = _HEADER.size + len(body)
            whole = NLM_F_REQUEST | NLM_F_ACK | flags
            out += _HEADER.pack(length, kind, whole, self._sequence, 0) + body
        self._sock.send(out)
        failed = 0
        awaited = set(range(first, self._sequence + 1))
        while awaited:
            for sequence, code in self._answers():
                awaited.discard(sequence)
                failed = failed or code
        if failed:
            raise OSError(failed, _strerror(failed))

    def _answers(self) -> "list[tuple[int, int]]":
        """(sequence, errno) of the acknowledgements in one datagram."""
        data = self._sock.recv(_RECEIVE)
        found, position = [], 0
        while position + _HEADER.size <= len(data):
            length, kind, _, sequence, _ = _HEADER.unpack_from(data, position)
            if kind == NLMSG_ERROR:
                found.append((sequence, -struct.unpack_from("=i", data, position + 16)[0]))
            position += max(16, (length + 3) & ~3)
        return found


def _strerror(code: int) -> str:
    import os

    return os.strerror(code)
