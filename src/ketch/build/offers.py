"""What a client lends to its build while it runs: secrets and SSH agents."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from ketch.errors import NotFound

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Offers(Protocol):
    """A client's side of a build."""

    async def secret(self, id: str) -> bytes | None:
        """The value of a secret; None when there is none of that name."""

    async def has_agent(self, id: str) -> bool:
        """Whether there is an SSH agent of that name."""

    async def agent(self, id: str) -> Streams:
        """A new connection to an SSH agent; raises ``NotFound``, ``Unavailable``."""


class GivenSecrets:
    """Secrets that came with the request; no agents."""

    def __init__(self, secrets: Mapping[str, bytes] | None = None) -> None:
        self._secrets = dict(secrets or {})

    async def secret(self, id: str) -> bytes | None:
        """From the request."""
        return self._secrets.get(id)

    async def has_agent(self, id: str) -> bool:
        """Never."""
        return False

    async def agent(self, id: str) -> Streams:
        """Raises ``NotFound``."""
        raise NotFound(f"the client offers no SSH agent {id!r}")
