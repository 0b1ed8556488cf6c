"""What ``ketch build`` lends to a build: secrets, agents, directories; left here before it begins.

Everything is kept in memory, for one build, and dropped when that ends or does not come. Agents are
reached through connections that the client opens ahead: each carries one conversation, and the
client opens the next when one is taken into use.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Iterable, Mapping

from ketch.build.request.offers import Layout, LayoutSource, Pieces, Streams
from ketch.engine.builder.contexts.demands import Demands
from ketch.engine.builder.contexts.layout_sent import SentLayout
from ketch.errors import Conflict, InvalidParameter, NotFound, Unavailable

_LARGEST = 500_000  # bytes of one secret
_MOST = 1000  # offers that wait for their builds
_LIFE = 120.0  # seconds
_PATIENCE = 10.0  # seconds for a free connection to an agent


class Parcel:
    """An output on its way to the client; ``done`` ends the build's waiting."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        loop = asyncio.get_running_loop()
        self.taken: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()


class LentOffers:
    """One client's secrets and agents; the registry accounts come with the build itself."""

    def __init__(self, values: Mapping[str, bytes], agents: Iterable[str]) -> None:
        self._secrets = dict(values)
        self._agents: dict[str, asyncio.Queue[socket.socket]] = {
            name: asyncio.Queue() for name in agents
        }
        self._parcels: dict[int, asyncio.Queue[Parcel | None]] = {}
        self._layouts: dict[str, str] = {}
        self.demands = Demands()
        self._over = False
        self._accounts: Mapping[str, tuple[str, str]] = {}
        self.until = time.monotonic() + _LIFE

    def with_accounts(self, accounts: Mapping[str, tuple[str, str]]) -> LentOffers:
        """The same, with accounts of registries."""
        self._accounts = accounts
        return self

    async def secret(self, id: str) -> bytes | None:
        """From memory."""
        return self._secrets.get(id)

    async def credentials(self, host: str) -> tuple[str, str] | None:
        """Those of the request."""
        names = (host, "https://index.docker.io/v1/") if host == "docker.io" else (host,)
        return next((self._accounts[name] for name in names if name in self._accounts), None)

    async def has_agent(self, id: str) -> bool:
        """Whether the client named it."""
        return id in self._agents

    async def agent(self, id: str) -> Streams:
        """Take one of the client's connections."""
        if id not in self._agents:
            raise NotFound(f"the client offers no SSH agent {id!r}")
        try:
            async with asyncio.timeout(_PATIENCE):
                sock = await self._agents[id].get()
        except TimeoutError:
            raise Unavailable(f"the client's SSH agent {id!r} does not answer") from None
        return await asyncio.open_connection(sock=sock)

    def connect(self, id: str, sock: socket.socket) -> None:
        """A further connection to an agent; raises ``NotFound`` (the socket is closed then)."""
        if id not in self._agents:
            sock.close()
            raise NotFound(f"the build was offered no SSH agent {id!r}")
        self._agents[id].put_nowait(sock)

    async def deliver(self, number: int, pieces: Pieces, scratch: str, *, unpacked: bool) -> None:
        """To whoever collects that output; unpacking is the client's."""
        parcel = Parcel(pieces)
        self._shelf(number).put_nowait(parcel)
        try:
            await asyncio.wait_for(asyncio.shield(parcel.taken), _PATIENCE)
        except TimeoutError:
            raise Unavailable(f"nobody fetches the build's output {number + 1}") from None
        await parcel.done

    async def collect(self, number: int) -> Parcel:
        """An output, as soon as it is there; raises ``NotFound`` when the build ends without."""
        parcel = None if self._over else await self._shelf(number).get()
        if parcel is None:
            raise NotFound(f"the build is over without an output {number + 1}")
        parcel.taken.set_result(None)
        return parcel

    async def keep(self, number: int, store: str, layout: Layout, scratch: str) -> None:
        """As an archive that the client unpacks."""
        pieces = await layout.archive()
        try:
            await self.deliver(number, pieces, scratch, unpacked=True)
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]

    async def layout(self, store: str) -> LayoutSource:
        """Left before the build."""
        if store not in self._layouts:
            raise NotFound(f"the client left no directory {store}")
        return SentLayout(self._layouts[store])

    def leave_layout(self, store: str, path: str) -> None:
        """A tar archive of a directory; deleted with the offers."""
        if store in self._layouts:
            os.unlink(path)
            raise Conflict(f"the client left the directory {store} already")
        self._layouts[store] = path

    def _shelf(self, number: int) -> asyncio.Queue[Parcel | None]:
        return self._parcels.setdefault(number, asyncio.Queue())

    def close(self) -> None:
        """Forget everything."""
        self._over = True
        self.demands.close()
        for path in self._layouts.values():
            os.unlink(path)
        self._layouts.clear()
        for shelf in self._parcels.values():
            shelf.put_nowait(None)
        self._secrets.clear()
        for queue in self._agents.values():
            while not queue.empty():
                queue.get_nowait().close()


class OfferDesk:
    """Where offers wait for their builds, by a token that only their client knows."""

    def __init__(self) -> None:
        self._waiting: dict[str, LentOffers] = {}
        self._given: dict[str, LentOffers] = {}

    def leave(self, values: Mapping[str, bytes], agents: Iterable[str]) -> str:
        """Leave offers; returns their token. Raises ``InvalidParameter``."""
        for name, value in values.items():
            if len(value) > _LARGEST:
                raise InvalidParameter(f"secret {name} is larger than {_LARGEST} bytes")
        self._sweep()
        if len(self._waiting) >= _MOST:
            raise Unavailable("too many builds are about to begin: try again later")
        token = secrets.token_hex(16)
        self._waiting[token] = LentOffers(values, agents)
        return token

    def find(self, token: str) -> LentOffers:
        """Offers before or while their build runs; raises ``NotFound``."""
        offers = self._waiting.get(token) or self._given.get(token)
        if offers is None:
            raise NotFound("the offers of the build are not known, or it is over")
        return offers

    def connect(self, token: str, agent: str, sock: socket.socket) -> None:
        """A connection to an agent, before or while the build runs; raises ``NotFound``."""
        offers = self._waiting.get(token) or self._given.get(token)
        if offers is None:
            sock.close()
            raise NotFound("the offers of the build are not known, or it is over")
        offers.connect(agent, sock)

    def take(self, token: str) -> LentOffers:
        """For the build that begins; raises ``NotFound``."""
        self._sweep()
        offers = self._waiting.pop(token, None)
        if offers is None:
            raise NotFound("the offers of the build are not known, or came too long ago")
        self._given[token] = offers
        return offers

    def done(self, token: str) -> None:
        """The build is over."""
        offers = self._given.pop(token, None)
        if offers is not None:
            offers.close()

    def _sweep(self) -> None:
        now = time.monotonic()
        for token in [token for token, offers in self._waiting.items() if offers.until < now]:
            self._waiting.pop(token).close()
