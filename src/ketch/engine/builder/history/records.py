"""What builds there were: their steps, times, output and outcome, kept across daemons.

A build is on record as soon as it runs for a moment, or is over: one that finds everything in the
cache is written once. One that a killed daemon left running is ``interrupted``.
The latest ``MOST`` builds are kept; of each step's output the first ``_LOG_LIMIT`` characters. No
value of a secret gets in, since none is part of an event or of the options that are kept; the
values of build arguments are left out too.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from ketch.build.progress.events import (
    Began,
    Ended,
    Event,
    Log,
    Note,
    Sink,
    StageDone,
    Status,
    Vertex,
    Warned,
)
from ketch.build.request.options import BuildOptions
from ketch.build.request.refusals import OtherFrontend
from ketch.engine.builder.history.files import Attachment, Failure, KeptFile, failure_of
from ketch.errors import Conflict, InvalidParameter, KetchError, NotFound
from ketch.state.database import Database, Table

_log = logging.getLogger("ketch.engine.builder")
MOST = 100
_SOON = 0.1  # seconds
_LOG_LIMIT = 200_000  # characters of one step
_PIECE = 4096  # characters up to which the pieces of a moment are kept as one
_MOMENT = 10_000_000  # ns
RUNNING, COMPLETED, ERROR, CANCELED, INTERRUPTED = (
    "running",
    "completed",
    "error",
    "canceled",
    "interrupted",
)


class BuildRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One build; times in ns since the epoch, ``completed_at`` 0 while it runs.

    ``steps`` counts vertices that began, ``cached`` and ``done`` those of them that did: as
    BuildKit does, an image as looked for and as brought, and nothing that makes no layer.
    """

    ref: str
    name: str
    started_at: int
    completed_at: int = 0
    status: str = RUNNING
    error: str = ""
    image: str = ""
    tags: tuple[str, ...] = ()
    dockerfile: str = ""
    target: str = ""
    platform: str = ""
    build_args: tuple[str, ...] = ()  # names
    steps: int = 0
    cached: int = 0
    done: int = 0
    warnings: int = 0
    attributes: dict[str, str] = {}  # as BuildKit's front end has them
    attachments: tuple[Attachment, ...] = ()
    failure: Failure | None = None


class BuildEvents(msgspec.Struct, frozen=True, kw_only=True):
    """What a build said: in order, without stands on the way, its output bounded; and its
    attachments by digest."""

    events: tuple[Event, ...]
    files: dict[str, bytes] = {}


class Recording:
    """One build being recorded; a ``Sink``."""

    def __init__(self, history: BuildHistory, record: BuildRecord) -> None:
        self._history = history
        self.record = record
        self._events: list[Event] = []
        self._logged: dict[str, int] = {}
        self._counts = {"steps": 0, "cached": 0, "done": 0, "warnings": 0}
        self._weights: dict[str, int] = {}  # of vertices in the counts, by digest
        self._images: set[tuple[str, str]] = set()

    def feed(self, event: Event) -> None:
        """Something happened."""
        if isinstance(event, Note | StageDone) or (isinstance(event, Status) and _passes(event)):
            return
        if isinstance(event, Log):
            logged = self._logged.get(event.digest, 0)
            if logged > _LOG_LIMIT:
                return
            self._logged[event.digest] = logged + len(event.text)
            if self._joined(event):
                return
        self._count(event)
        self._events.append(event)

    def _joined(self, event: Log) -> bool:
        """Whether the output went to the event before, so that small pieces do not cost much."""
        last = self._events[-1] if self._events else None
        if not isinstance(last, Log) or len(last.text) >= _PIECE:
            return False
        if (last.digest, last.stream) != (event.digest, event.stream):
            return False
        if event.at - last.at > _MOMENT:
            return False
        self._events[-1] = Log(last.digest, last.stream, last.text + event.text, last.at)
        return True

    def _count(self, event: Event) -> None:
        counts = self._counts
        counts["warnings"] += isinstance(event, Warned)
        if isinstance(event, Began):
            weight = self._weights[event.vertex.digest] = self._weight(event.vertex)
            counts["steps"] += weight
        if isinstance(event, Ended):
            weight = self._weights.get(event.digest, 0)
            counts["cached"] += event.cached and weight > 0
            counts["done"] += 0 if event.error else weight

    def _weight(self, vertex: Vertex) -> int:
        image = (vertex.image, vertex.platform)
        if not vertex.layer or image in self._images:
            return 0
        if vertex.image:
            self._images.add(image)
        return 2 if vertex.image else 1

    def _placed(self, failure: Failure | None) -> Failure | None:
        """With the step that failed."""
        failed = (e.digest for e in self._events if isinstance(e, Ended) and _is_cause(e.error))
        return failure and msgspec.structs.replace(failure, vertex=next(failed, ""))

    def tee(self, sink: Sink) -> Sink:
        """A sink that hands everything on to another one too."""

        def both(event: Event) -> None:
            self.feed(event)
            sink(event)

        return both

    def end(
        self,
        status: str,
        *,
        image: str = "",
        error: str = "",
        files: Sequence[KeptFile] = (),
        failure: Failure | None = None,
    ) -> None:
        """The build is over; the second time is no error and changes nothing."""
        if self.record.completed_at:
            return
        self.record = msgspec.structs.replace(
            self.record,
            completed_at=time.time_ns(),
            status=status,
            image=image,
            error=error[:4096],
            attachments=tuple(file.about for file in files),
            failure=self._placed(failure),
            **self._counts,
        )
        kept = {file.about.digest: file.data for file in files}
        self._history.finish(self.record, BuildEvents(events=tuple(self._events), files=kept))


def _is_cause(error: str) -> bool:
    return bool(error) and error != "canceled"


class BuildHistory:
    """All records, the latest last."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._table = Table(database, "build_history", BuildRecord)
        self._events = Table(database, "build_history_events", BuildEvents)
        self._records = self._table.all()
        self._listeners: set[asyncio.Future[None]] = set()
        self._unwritten: dict[str, asyncio.TimerHandle] = {}

    def changed(self) -> asyncio.Future[None]:
        """Done when a build begins, ends or is forgotten next; who no longer waits cancels it."""
        listener: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listeners.add(listener)
        listener.add_done_callback(self._listeners.discard)
        return listener

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            if not listener.done():
                listener.set_result(None)

    def start(self) -> None:
        """What ran when the last daemon ended was interrupted."""
        for record in list(self._records.values()):
            if not record.completed_at:
                ended = msgspec.structs.replace(
                    record,
                    status=INTERRUPTED,
                    completed_at=time.time_ns(),
                    error="the daemon ended while the build ran",
                )
                self.finish(ended, BuildEvents(events=()))

    def begin(self, options: BuildOptions, ref: str = "") -> Recording:
        """A build that starts now."""
        record = BuildRecord(
            ref=ref or secrets.token_hex(12),
            name=_name(options),
            started_at=time.time_ns(),
            tags=options.tags,
            dockerfile=options.dockerfile,
            target=options.target,
            platform=options.platform,
            build_args=tuple(sorted(options.build_args)),
            attributes=options.attributes,
        )
        self._records[record.ref] = record
        loop = asyncio.get_running_loop()
        self._unwritten[record.ref] = loop.call_later(_SOON, self._write, record)
        self._tell()
        return Recording(self, record)

    @contextmanager
    def recording(self, options: BuildOptions, ref: str | None = "") -> Iterator[Recording]:
        """A build that starts now, and ends with the block if it did not before. None as ``ref`` is
        a part of another one, which is not kept; nor is one that another front end is to do."""
        recording = self.begin(options, ref or "")
        if ref is None:
            self._drop(recording.record.ref)
        try:
            yield recording
        except OtherFrontend:
            self._drop(recording.record.ref)
            raise
        except Exception as error:
            recording.end(ERROR, error=str(error), failure=failure_of(error))
            raise
        finally:
            recording.end(CANCELED)

    def _drop(self, ref: str) -> None:
        """As if it had not begun."""
        unwritten = self._unwritten.pop(ref, None)
        if unwritten is not None:
            unwritten.cancel()
        with self._database.transaction(durable=False):
            self._delete([ref])
        self._records.pop(ref, None)

    def _write(self, record: BuildRecord) -> None:
        """It runs for longer than a moment."""
        del self._unwritten[record.ref]
        try:
            self._keep(record)
        except KetchError as error:
            _log.warning("build %s is not on record yet: %s", record.ref, error)

    def finish(self, record: BuildRecord, events: BuildEvents) -> None:
        """Keep a build's outcome."""
        if record.ref not in self._records:
            return  # removed meanwhile
        unwritten = self._unwritten.pop(record.ref, None)
        if unwritten is not None:
            unwritten.cancel()
        self._keep(record, events)
        self._records[record.ref] = record
        self._tell()

    def _keep(self, record: BuildRecord, events: BuildEvents | None = None) -> None:
        """Write it, and forget the oldest where there are too many."""
        oldest = self._oldest()
        with self._database.transaction(durable=False):
            self._table.put(record.ref, record)
            if events is not None:
                self._events.put(record.ref, events)
            self._delete(oldest)
        for ref in oldest:
            del self._records[ref]

    def _oldest(self) -> list[str]:
        """Builds that are over, more than are kept."""
        if len(self._records) <= MOST:
            return []
        over = [record for record in self._records.values() if record.completed_at]
        over.sort(key=lambda record: record.started_at)
        return [record.ref for record in over[: len(self._records) - MOST]]

    def all(self) -> list[BuildRecord]:
        """Every record, newest first."""
        return sorted(self._records.values(), key=lambda record: -record.started_at)

    def resolve(self, ref: str) -> BuildRecord:
        """By reference or the beginning of one; empty or ``^n`` is the latest or the n-th before.

        Raises ``NotFound``, ``InvalidParameter`` when several begin so.
        """
        records = self.all()
        if not ref or ref.startswith("^"):
            back = ref[1:] or "0"
            if not (back.isascii() and back.isdigit()):
                raise InvalidParameter(f"invalid build reference {ref!r}: write ^ and a number")
            if int(back) >= len(records):
                raise NotFound(f"no such build: {ref or 'there was none'}")
            return records[int(back)]
        found = [record for record in records if record.ref.startswith(ref)]
        exact = [record for record in found if record.ref == ref]
        if len(exact or found) > 1:
            raise InvalidParameter(f"several builds have references that begin with {ref}")
        if not found:
            raise NotFound(f"no such build: {ref}")
        return (exact or found)[0]

    def events(self, record: BuildRecord) -> tuple[Event, ...]:
        """What a build said; nothing while it runs."""
        found = self._events.get(record.ref)
        return found.events if found is not None else ()

    def has(self, ref: str) -> bool:
        """Whether a build of exactly that name is on record."""
        return ref in self._records

    def file(self, digest: str) -> bytes | None:
        """An attachment of some build."""
        for record in self._records.values():
            if any(one.digest == digest for one in record.attachments):
                found = self._events.get(record.ref)
                return found.files.get(digest) if found is not None else None
        return None

    def remove(self, ref: str) -> None:
        """Forget a build; raises ``Conflict`` while it runs."""
        record = self.resolve(ref)
        if not record.completed_at:
            raise Conflict(f"build {record.ref} is running: cancel it first")
        self._forget([record.ref])

    def clear(self) -> list[str]:
        """Forget all builds that are over; their references."""
        refs = [record.ref for record in self._records.values() if record.completed_at]
        self._forget(refs)
        return refs

    def _forget(self, refs: Iterable[str]) -> None:
        doomed = list(refs)
        with self._database.transaction(durable=False):
            self._delete(doomed)
        for ref in doomed:
            self._records.pop(ref, None)
        self._tell()

    def _delete(self, refs: Iterable[str]) -> None:
        for ref in refs:
            self._table.delete(ref)
            self._events.delete(ref)


def _passes(status: Status) -> bool:
    """Whether it is a stand on the way, or a layer's, of which there are many."""
    return bool(status.id or status.total or (status.current and not status.done))


def _name(options: BuildOptions) -> str:
    """What people call the build: its first name, or its Dockerfile."""
    name = options.tags[0] if options.tags else options.dockerfile
    return f"{name} ({options.target})" if options.target else name
