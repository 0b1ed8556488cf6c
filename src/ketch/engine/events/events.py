"""Events: what happened, kept in SQLite so that a client that reconnects misses nothing.

An event is written in the same transaction as the change that it tells (``telling``), so that a
daemon killed at any instant has either both or neither; others go with the next transaction, at
the latest some milliseconds later (a container's start and end make several, which share one so).
A power cut may take the last ones back, with the changes they tell. The newest ``KEPT`` are kept;
Docker keeps 256, in memory.

Streams read from the journal, so a slow client costs no memory and loses nothing until the journal
forgets.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from ketch.engine.events.filters import matches
from ketch.engine.events.values import Event
from ketch.engine.filters import Filters
from ketch.errors import InvalidParameter, KetchError
from ketch.state.database import Database
from ketch.state.journal import Journal

KEPT = 20_000
_ALONE = 0.01  # seconds that an event waits for a transaction to go with
_PAUSE = 1.0  # seconds until a journal that cannot be written is tried again

_log = logging.getLogger("ketch.engine.events")


class Events:
    """Publish and stream; all of it on the thread of the event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._journal: Journal[Event] = Journal(database, "events", Event, limit=KEPT)
        self._pending: list[Event] = []
        self._boarded = 0  # of the pending ones, how many the present transaction holds
        self._newest = 0
        self._last = 0  # sequence number of the newest event of this process
        self._changed = asyncio.Event()
        self._followers = 0
        self._time = self._journal.newest()  # the clock may have been set back since
        self._thread = threading.get_ident()
        database.rider = self

    @property
    def followed(self) -> bool:
        """Whether somebody hears of events as they happen."""
        return self._followers > 0

    def publish(
        self, type: str, action: str, actor: str, attributes: dict[str, str] | None = None
    ) -> None:
        """Record an event and hand it to every stream; never blocks.

        To be called on the event loop's thread. Times are strictly increasing.
        """
        self._thread = threading.get_ident()
        self._time = max(self._time + 1, time.time_ns())
        event = Event(
            type=type, action=action, actor=actor, attributes=attributes or {}, time=self._time
        )
        if not self._pending:
            asyncio.get_running_loop().call_later(_ALONE, self.flush)
        self._pending.append(event)

    def pruned(self, type: str, reclaimed: int) -> None:
        """What was not in use has been removed, however much that was; in bytes."""
        self.publish(type, "prune", "", {"reclaimed": str(reclaimed)})

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Publish inside, then make the change that it tells: both are kept, or neither.

        The change is one transaction, the last thing in the block. Never await inside.
        """
        before = len(self._pending)
        try:
            yield
        except BaseException:
            del self._pending[before:]
            raise

    def flush(self) -> None:
        """Write what is pending; called by itself, and before the engine closes."""
        if not self._pending:
            return
        try:
            with self._database.transaction(durable=False):
                pass  # the rider boards
        except KetchError as error:
            _log.error("%d events wait: %s", len(self._pending), error)
            del self._pending[:-KEPT]
            self._try_later()

    def board(self) -> None:
        """The ``Rider`` of the database: whoever commits takes the pending events along."""
        if self._pending and threading.get_ident() == self._thread:
            self._newest = self._journal.extend([(event.time, event) for event in self._pending])
            self._boarded = len(self._pending)

    def arrived(self, kept: bool) -> None:
        """What boarded is there for all to see, or waits for the next transaction."""
        boarded, self._boarded = self._boarded, 0
        if not kept or not boarded or threading.get_ident() != self._thread:
            return
        del self._pending[:boarded]
        self._last = self._newest
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _try_later(self) -> None:
        try:
            asyncio.get_running_loop().call_later(_PAUSE, self.flush)
        except RuntimeError:
            return  # the engine closes, and its loop has gone

    def stream(
        self, since: int = 0, until: int = 0, filters: Filters | None = None
    ) -> AsyncIterator[Event]:
        """Events after ``since`` (ns since the epoch; 0 = from now on) up to ``until`` (0 = for
        ever). Filters by Docker's keys: type, event, container, image, label, volume, network.

        The stream begins when this is called, so nothing published after is missed. Raises
        ``InvalidParameter`` when ``since`` is later than ``until``.
        """
        if since and until and since > until:
            raise InvalidParameter("`since` time cannot be after `until` time")
        self.flush()
        if since:
            return self._stream(since, until, 0, filters or {})
        return self._stream(0 if self._last else time.time_ns(), until, self._last, filters or {})

    async def _stream(
        self, since: int, until: int, after: int, filters: Filters
    ) -> AsyncIterator[Event]:
        self._followers += 1
        try:
            while True:
                changed = self._changed
                for sequence, event in self._journal.between(since, until, after=after):
                    after = sequence
                    if matches(event, filters):
                        yield event
                if not await _wait(changed, until):
                    return
        finally:
            self._followers -= 1


async def _wait(changed: asyncio.Event, until: int) -> bool:
    """Wait for more; False when ``until`` has passed."""
    left = (until - time.time_ns()) / 1e9 if until else None
    if left is not None and left <= 0:
        return False
    try:
        await asyncio.wait_for(changed.wait(), left)
    except TimeoutError:
        pass  # once more through the journal, then it ends
    return True
