"""Connections to an engine over TCP, with mutual TLS when the environment asks for it.

Imported only when the address is ``tcp://``: ``socket`` and ``ssl`` are slow to import.
"""

import os
import socket

from ketch.client.address import Address, wants_tls


def connect(address: Address) -> socket.socket:
    """A connected stream; raises OSError (``ssl.SSLError`` is one)."""
    sock = socket.create_connection((address.host, address.port), timeout=30)
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not wants_tls():
        return sock
    return _tls(sock, address.host)


def _tls(sock: socket.socket, host: str) -> socket.socket:
    """Wrap with the certificates of DOCKER_CERT_PATH (ca.pem, cert.pem, key.pem)."""
    import ssl

    folder = os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
    context = ssl.create_default_context(cafile=os.path.join(folder, "ca.pem"))
    context.load_cert_chain(os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem"))
    return context.wrap_socket(sock, server_hostname=host)
