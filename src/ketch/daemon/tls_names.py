"""The names in the daemon's own certificate: under these, too, clients may call it.

Python's ssl tells what a certificate holds only of a peer, so the certificate is shown once to a
client in memory that trusts just that one.
"""

from __future__ import annotations

import ssl
from typing import Any


def names_of(certificate: str, key: str) -> tuple[str, ...]:
    """DNS names of a PEM certificate's subjectAltName; none when they cannot be told."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        server.load_cert_chain(certificate, key)
        client.load_verify_locations(certificate)
        shown = _shown(server, client)
    except (OSError, ssl.SSLError):
        return ()
    names = shown.get("subjectAltName", ()) if shown else ()
    return tuple(value for kind, value in names if kind == "DNS")


def _shown(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any] | None:
    """What the client of a handshake sees of the server's certificate."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(down, up, server_side=False),
        server.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return sides[0].getpeercert()
