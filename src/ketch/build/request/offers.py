"""What a client lends to its build while it runs: secrets, SSH agents, its registry accounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import BinaryIO, NamedTuple, Protocol

from ketch.errors import InvalidParameter, NotFound
from ketch.oci.descriptor import Descriptor

EXPORT = "export"
"""The store of an output that is a directory (``Offers.keep``)."""
Pieces = AsyncIterator[bytes]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Blob(NamedTuple):
    """Content that can be read."""

    digest: str
    size: int
    open: Callable[[], BinaryIO]


class Layout(Protocol):
    """An OCI layout on its way to a directory of the client's."""

    @property
    def blobs(self) -> Sequence[Blob]:
        """Everything but what names the root."""
        ...

    async def archive(self) -> Pieces:
        """All of it as a tar archive; closing the iterator ends the work."""
        ...


class LayoutSource(Protocol):
    """An OCI layout of the client's. Nothing it says is trusted: what does not have the size and
    the digest that were announced raises ``DataCorrupt``, what is not there ``NotFound``."""

    async def document(self, tag: str, digest: str) -> bytes:
        """The document of a digest or, without one, of a tag."""
        ...

    async def read(self, blob: Descriptor) -> bytes:
        """A small blob."""
        ...

    def pieces(self, blob: Descriptor) -> Pieces:
        """A blob's bytes as they come; whoever takes them checks the digest."""
        ...


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

    async def keep(self, number: int, store: str, layout: Layout, scratch: str) -> None:
        """Put the layout that the build's ``number``-th output is into the client's directory,
        which it knows by the name ``store``. Raises as ``deliver`` does."""

    async def layout(self, store: str) -> LayoutSource:
        """A layout of the client's, by BuildKit's names: ``local:DIRECTORY`` for one that a cache
        comes from, ``oci:NAME`` for a named context. Raises ``NotFound``."""


_NO_WAY_BACK = (
    "output {} is for the client, which takes nothing: leave offers with"
    " POST /ketch/builds/offers first and fetch it from there"
)


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
        raise InvalidParameter(_NO_WAY_BACK.format(number + 1))

    async def keep(self, number: int, store: str, layout: Layout, scratch: str) -> None:
        """Raises as ``deliver`` does."""
        raise InvalidParameter(_NO_WAY_BACK.format(number + 1))

    async def layout(self, store: str) -> LayoutSource:
        """Raises ``NotFound``."""
        raise NotFound(f"the client sent no directory {store}")
