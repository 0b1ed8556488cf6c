"""Connections to an engine over TCP.

Imported only when the address is ``tcp://``: ``socket`` and ``ssl`` are slow to import.
"""

import socket

from ketch.client.address import Address


def connect(address: Address) -> socket.socket:
    """A connected stream; raises OSError (``ssl.SSLError`` is one)."""
    sock = socket.create_connection((address.host, address.port), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address.tls is None:
        sock.settimeout(None)
        return sock
    from ketch.client import tls

    return tls.plain_side(sock, address.tls, address.host)
