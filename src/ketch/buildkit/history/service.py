"""The history of builds, as ``buildx history`` asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from ketch.buildkit.history.filter import Passes, passes_all
from ketch.buildkit.history.record import message
from ketch.buildkit.located import failure_status
from ketch.buildkit.messages.control import (
    BlobDescriptor,
    BuildHistoryEvent,
    BuildHistoryRecord,
    BuildHistoryRequest,
    UpdateBuildHistoryRequest,
)
from ketch.buildkit.status import StatusWriter
from ketch.errors import NotFound, Unsupported
from ketch.oci.digest import of

if TYPE_CHECKING:
    from ketch.build.progress.events import Event
    from ketch.engine.builder.history.records import BuildHistory, BuildRecord

STARTED, COMPLETE, DELETED = 0, 1, 2
_STATUS = "application/vnd.buildkit.status.v0"
_FAILURE = "application/vnd.googeapis.google.rpc.status+proto"  # as BuildKit writes it


class HistoryFront:
    """Reads and changes the engine's history."""

    def __init__(self, history: BuildHistory) -> None:
        self._history = history
        self._logs: dict[str, BlobDescriptor] = {}  # of the output, by the build's ref

    async def listen(self, request: BuildHistoryRequest) -> AsyncIterator[BuildHistoryEvent]:
        """The builds, newest first; with ``EarlyExit`` that is all, else also what becomes of them
        and of those to come, whatever ``ActiveOnly`` and ``Limit`` say of the first ones."""
        passes = passes_all(request.Filter)
        self._logs = {ref: blob for ref, blob in self._logs.items() if self._history.has(ref)}
        wanted = {record.ref for record in self._chosen(request, passes)}
        known = {
            record.ref: _kind(record) for record in self._history.all() if record.ref not in wanted
        }
        while True:
            changed = None if request.EarlyExit else self._history.changed()
            try:
                for record in self._history.all():
                    kind = _kind(record)
                    if known.get(record.ref) == kind or not _is_named(record, request):
                        continue
                    known[record.ref] = kind
                    if record.ref in wanted or passes(record):
                        yield BuildHistoryEvent(type=kind, record=self._told(record))
                for ref in [ref for ref in known if not self._history.has(ref)]:
                    del known[ref]
                    if request.Ref and ref != request.Ref:
                        continue
                    yield BuildHistoryEvent(type=DELETED, record=BuildHistoryRecord(Ref=ref))
                if changed is None:
                    return
                await changed
            finally:
                if changed is not None:
                    changed.cancel()

    def _chosen(self, request: BuildHistoryRequest, passes: Passes) -> list[BuildRecord]:
        records = [
            record
            for record in self._history.all()
            if _is_named(record, request)
            and not (request.ActiveOnly and record.completed_at)
            and passes(record)
        ]
        return records[: request.Limit] if request.Limit > 0 else records

    def _told(self, record: BuildRecord) -> BuildHistoryRecord:
        """The output is written down again for who reads it; only its digest is kept."""
        told = message(record)
        if record.failure is not None:
            data = failure_status(record.failure)
            told.externalError = BlobDescriptor(
                media_type=_FAILURE, digest=of(data), size=len(data)
            )
        if record.completed_at:
            if record.ref not in self._logs:
                data = _logs(self._history.events(record))
                blob = BlobDescriptor(media_type=_STATUS, digest=of(data), size=len(data))
                self._logs[record.ref] = blob
            told.logs = self._logs[record.ref]
        return told

    def blob(self, digest: str) -> bytes:
        """What a record names by its digest; raises ``NotFound``."""
        found = self._output(digest) or self._history.file(digest) or self._failure(digest)
        if found is None:
            raise NotFound(f"content {digest:.100}: not found")
        return found

    def blobs(self) -> Iterator[tuple[str, int]]:
        """Digests and sizes of all that records name, each once."""
        found: dict[str, int] = {}
        for record in self._history.all():
            told = self._told(record)
            named = [blob for blob in (told.logs, told.externalError) if blob is not None]
            found.update((blob.digest, blob.size) for blob in named)
            found.update((one.digest, one.size) for one in record.attachments)
        yield from found.items()

    def _output(self, digest: str) -> bytes | None:
        for record in self._history.all():
            blob = self._logs.get(record.ref)
            if blob is not None and blob.digest == digest:
                return _logs(self._history.events(record))
        return None

    def _failure(self, digest: str) -> bytes | None:
        failures = (failure_status(r.failure) for r in self._history.all() if r.failure)
        return next((data for data in failures if of(data) == digest), None)

    def update(self, request: UpdateBuildHistoryRequest) -> None:
        """Only deleting changes anything: nothing is pinned, and all is final when it is over."""
        if request.Pinned:
            raise Unsupported("pinning builds is not supported by ketch")
        if request.Delete:
            self._history.remove(request.Ref)

    def events(self, ref: str) -> tuple[Event, ...] | None:
        """What a build that is over said; None when there is none of exactly that name."""
        try:
            record = self._history.resolve(ref) if ref else None
        except NotFound:
            return None
        if record is None or record.ref != ref or not record.completed_at:
            return None
        return self._history.events(record)


def _logs(events: tuple[Event, ...]) -> bytes:
    """Status messages one after another, the length of each before it (32 bits, low byte first)."""
    messages = [response.encode() for response in StatusWriter().responses(events)]
    return b"".join(len(one).to_bytes(4, "little") + one for one in messages)


def _kind(record: BuildRecord) -> int:
    return COMPLETE if record.completed_at else STARTED


def _is_named(record: BuildRecord, request: BuildHistoryRequest) -> bool:
    return not request.Ref or record.ref == request.Ref
