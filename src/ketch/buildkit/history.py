"""The history of builds, as ``buildx history`` asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ketch.buildkit.control_messages import (
    BuildHistoryEvent,
    BuildHistoryRecord,
    BuildHistoryRequest,
    RpcStatus,
    UpdateBuildHistoryRequest,
)
from ketch.errors import NotFound, Unsupported
from ketch.protobuf import Timestamp

if TYPE_CHECKING:
    from ketch.build.progress import Event
    from ketch.engine.builder.history import BuildHistory, BuildRecord

STARTED, COMPLETE = 0, 1
_UNKNOWN = 2  # of google.rpc.Code


class HistoryFront:
    """Reads and changes the engine's history."""

    def __init__(self, history: BuildHistory) -> None:
        self._history = history

    async def listen(self, request: BuildHistoryRequest) -> AsyncIterator[BuildHistoryEvent]:
        """The builds, newest first; with ``EarlyExit`` that is all, else those to come as well."""
        if request.Filter:
            raise Unsupported("filters of the build history are not supported by ketch")
        known: dict[str, int] = {}
        while True:
            changed = None if request.EarlyExit else self._history.changed()
            try:
                for record in self._chosen(request):
                    kind = COMPLETE if record.completed_at else STARTED
                    if known.get(record.ref) != kind:
                        known[record.ref] = kind
                        yield BuildHistoryEvent(type=kind, record=_message(record))
                if changed is None:
                    return
                await changed
            finally:
                if changed is not None:
                    changed.cancel()

    def _chosen(self, request: BuildHistoryRequest) -> list[BuildRecord]:
        records = [
            record
            for record in self._history.all()
            if (not request.Ref or record.ref == request.Ref)
            and not (request.ActiveOnly and record.completed_at)
        ]
        return records[: request.Limit] if request.Limit > 0 else records

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


def _message(record: BuildRecord) -> BuildHistoryRecord:
    over = record.completed_at
    attrs = {"filename": record.dockerfile, "target": record.target, "platform": record.platform}
    response = {"containerimage.digest": record.image, "image.name": ",".join(record.tags)}
    return BuildHistoryRecord(
        Ref=record.ref,
        Frontend="dockerfile.v0",
        FrontendAttrs={name: text for name, text in attrs.items() if text},
        error=RpcStatus(code=_UNKNOWN, message=record.error) if record.error else None,
        CreatedAt=Timestamp.of(record.started_at),
        CompletedAt=Timestamp.of(over) if over else None,
        ExporterResponse={name: text for name, text in response.items() if text},
        numCachedSteps=record.cached,
        numTotalSteps=record.steps,
        numCompletedSteps=record.done,
        numWarnings=record.warnings,
    )
