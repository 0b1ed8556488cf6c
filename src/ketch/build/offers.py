"""What a client lends to its build while it runs: secrets, SSH agents, its registry accounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from ketch.errors import InvalidParameter, NotFound

Pieces = AsyncIterator[bytes]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Offers(Protocol):
    """A client's side of a build."""

    async def secret(self, id: str) -> bytes | None:
        """The value of a secret; None when there is none of that name."""

    async def credentials(self, host: str) -> tuple[str, str] | None:
        """User and password for a registry (``docker.io`` for the Hub); with an empty user, the
        password is an identity token. None: anonymous."""

    async def has_agent(self, id: str) -> bool:
        """Whether there is an SSH agent of that name."""

    async def agent(self, id: str) -> Streams:
        """A new connection to an SSH agent; raises ``NotFound``, ``Unavailable``."""

    async def deliver(self, number: int, pieces: Pieces, scratch: str, *, unpacked: bool) -> None:
        """Hand over the tar archive that the build's ``number``-th output is; ``unpacked``: as
        files in a directory of the client's. ``scratch`` is a directory for what can't go at
        once. Raises ``InvalidParameter`` when the client takes
        nothing, ``Unavailable`` when it went away."""

    async def folder(self, number: int) -> str:
        """The path of a tar archive with the directory of the build's ``number``-th source of
        cache. Raises ``NotFound``."""


class Given:
    """What came with the request; no agents."""

    def __init__(
        self,
        secrets: Mapping[str, bytes] | None = None,
        credentials: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        self._secrets = dict(secrets or {})
        self._credentials = dict(credentials or {})

    async def credentials(self, host: str) -> tuple[str, str] | None:
        """From the request; clients name the Hub in two ways."""
        names = (host, "https://index.docker.io/v1/") if host == "docker.io" else (host,)
        return next((self._credentials[n] for n in names if n in self._credentials), None)

    async def secret(self, id: str) -> bytes | None:
        """From the request."""
        return self._secrets.get(id)

    async def has_agent(self, id: str) -> bool:
        """Never."""
        return False

    async def agent(self, id: str) -> Streams:
        """Raises ``NotFound``."""
        raise NotFound(f"the client offers no SSH agent {id!r}")

    async def deliver(self, number: int, pieces: Pieces, scratch: str, *, unpacked: bool) -> None:
        """Raises ``InvalidParameter``: there is no way back to the client."""
        raise InvalidParameter(
            f"output {number + 1} is for the client, which takes nothing: leave offers with"
            " POST /ketch/builds/offers first and fetch it from there"
        )

    async def folder(self, number: int) -> str:
        """Raises ``NotFound``."""
        raise NotFound("the client sent no directory")
