"""What is at a URL, as it comes, and the digest of all of it for the provenance."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator


class Download:
    """A stream that is noted as it is read. Whoever reads it as an archive may end before it does;
    ``finish`` takes the rest."""

    def __init__(self, url: str, stream: AsyncIterator[bytes]) -> None:
        self.url = url
        self._stream = stream
        self._sha = hashlib.sha256()

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes, once."""
        async for piece in self._stream:
            self._sha.update(piece)
            yield piece

    async def finish(self) -> None:
        """Read to the end."""
        async for piece in self._stream:
            self._sha.update(piece)

    @property
    def digest(self) -> str:
        """Of what was read."""
        return f"sha256:{self._sha.hexdigest()}"
