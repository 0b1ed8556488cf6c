"""Importing aiohttp without what it would read on the occasion.

As it is imported it makes a TLS context for clients, for which OpenSSL reads all the authorities
that the machine trusts: 10 ms and 2 MB, for ever. Each client of ours makes a context of its own
when it needs one (``distribution.hosts``, ``engine.http_get``).
"""

from __future__ import annotations

import os

_VARIABLE = "SSL_CERT_FILE"  # SSL_CTX_load_verify_locations(3), of the default locations


def import_aiohttp() -> None:
    """Import it; to be called before anything else does."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = os.devnull
    try:
        import aiohttp  # noqa: F401
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
