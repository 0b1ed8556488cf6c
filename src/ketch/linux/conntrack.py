"""Forgetting tracked flows (NETLINK_NETFILTER, linux/netfilter/nfnetlink_conntrack.h).

The kernel looks address maps up once per flow. A UDP flow has no end but silence, so a sender that
never pauses would reach the old target of a port for ever.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Iterator

from ketch.linux.netlink import AF_NETLINK, attribute

_NETLINK_NETFILTER = 12
_GET, _DELETE = 0x0101, 0x0102  # subsystem NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_*
_REQUEST, _ACK, _DUMP = 1, 4, 0x300
_ERROR, _DONE = 2, 3
_TUPLE_ORIG, _TUPLE_PROTO, _PROTO_NUM, _PROTO_DST_PORT = 1, 2, 1, 3
_FILTER, _FILTER_ORIG_FLAGS = 25, 1
_BY_NUM_AND_PORT = 0x28  # CTA_FILTER_F_CTA_PROTO_NUM | …_DST_PORT
_NESTED, _KIND = 0x8000, 0x3FFF
_HEADER = struct.Struct("=IHHII")
_NFGENMSG = struct.pack("=BBH", socket.AF_INET, 0, 0)


def forget(protocol: int, ports: Collection[int]) -> int:
    """Forget the IPv4 flows that were sent to one of ``ports``; returns how many.

    Needs CAP_NET_ADMIN; raises OSError. Linux before 5.8 lists every flow for it.
    """
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(AF_NETLINK, kind, _NETLINK_NETFILTER) as sock:
        sock.bind((0, 0))
        found = [flow for port in ports for flow in _flows(sock, protocol, port)]
        return sum(_delete(sock, flow) for flow in found)


def _flows(sock: socket.socket, protocol: int, port: int) -> Iterator[bytes]:
    """CTA_TUPLE_ORIG of every flow to a port."""
    number = attribute(_PROTO_NUM, bytes([protocol]))
    number += attribute(_PROTO_DST_PORT, struct.pack(">H", port))
    wanted = attribute(_TUPLE_ORIG | _NESTED, attribute(_TUPLE_PROTO | _NESTED, number))
    flags = attribute(_FILTER_ORIG_FLAGS, struct.pack("=I", _BY_NUM_AND_PORT))
    _send(sock, _GET, _DUMP, wanted + attribute(_FILTER | _NESTED, flags))
    for kind, body in _answers(sock):
        if kind == _DONE:
            return
        _raise_error(kind, body)
        flow = _attributes(body[4:]).get(_TUPLE_ORIG, b"")
        sent = _attributes(_attributes(flow).get(_TUPLE_PROTO, b""))
        if sent.get(_PROTO_NUM) == bytes([protocol]) and (
            sent.get(_PROTO_DST_PORT) == struct.pack(">H", port)
        ):
            yield flow


def _delete(sock: socket.socket, flow: bytes) -> bool:
    _send(sock, _DELETE, _ACK, attribute(_TUPLE_ORIG | _NESTED, flow))
    for kind, body in _answers(sock):
        try:
            _raise_error(kind, body)
        except FileNotFoundError:
            return False  # it ended by itself
        return True
    return False


def _send(sock: socket.socket, kind: int, flags: int, body: bytes) -> None:
    length = _HEADER.size + len(_NFGENMSG) + len(body)
    sock.send(_HEADER.pack(length, kind, _REQUEST | flags, 0, 0) + _NFGENMSG + body)


def _answers(sock: socket.socket) -> Iterator[tuple[int, bytes]]:
    """(type, body) of the messages that arrive."""
    while True:
        data = sock.recv(1 << 18)
        while len(data) >= _HEADER.size:
            length, kind = struct.unpack_from("=IH", data)
            yield kind, data[_HEADER.size : length]
            data = data[max(_HEADER.size, (length + 3) & ~3) :]


def _raise_error(kind: int, body: bytes) -> None:
    if kind == _ERROR:
        code = -struct.unpack_from("=i", body)[0]
        if code:
            raise OSError(code, "cannot list or forget tracked flows")


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found[kind & _KIND] = data[4:length]
        data = data[max(4, (length + 3) & ~3) :]
    return found
