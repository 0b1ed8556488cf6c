"""One build of the history as BuildKit's message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.buildkit.frontend.asked import DOCKERFILE
from ketch.buildkit.located import UNKNOWN
from ketch.buildkit.messages.control import (
    BlobDescriptor,
    BuildHistoryRecord,
    BuildResultInfo,
    RpcStatus,
)
from ketch.engine.builder.history.records import CANCELED
from ketch.protobuf import Timestamp

if TYPE_CHECKING:
    from ketch.engine.builder.history.files import Attachment
    from ketch.engine.builder.history.records import BuildRecord

_CANCELED = 1  # of google.rpc.Code
_PREDICATE = "in-toto.io/predicate-type"


def message(record: BuildRecord) -> BuildHistoryRecord:
    """All but the output."""
    over = record.completed_at
    response = {"containerimage.digest": record.image, "image.name": ",".join(record.tags)}
    platforms = list(dict.fromkeys(one.platform for one in record.attachments))
    results = {name: _result(record.attachments, name) for name in platforms}
    return BuildHistoryRecord(
        Ref=record.ref,
        Frontend=DOCKERFILE,
        FrontendAttrs=_attributes(record),
        error=_error(record),
        CreatedAt=Timestamp.of(record.started_at),
        CompletedAt=Timestamp.of(over) if over else None,
        ExporterResponse={name: text for name, text in response.items() if text},
        Result=next(iter(results.values())) if len(results) == 1 else None,
        Results=results if len(results) > 1 else {},
        numCachedSteps=record.cached,
        numTotalSteps=record.steps,
        numCompletedSteps=record.done,
        numWarnings=record.warnings,
    )


def _attributes(record: BuildRecord) -> dict[str, str]:
    """As the client gave them, or those that other clients' options come to."""
    known = {"filename": record.dockerfile, "target": record.target, "platform": record.platform}
    known |= {f"build-arg:{name}": "" for name in record.build_args}
    told = {name: text for name, text in known.items() if text or name.startswith("build-arg:")}
    return record.attributes or told


def _error(record: BuildRecord) -> RpcStatus | None:
    if record.status == CANCELED:
        return RpcStatus(code=_CANCELED, message="context canceled")
    if record.failure is not None:
        return RpcStatus(code=UNKNOWN, message=record.failure.told)
    return RpcStatus(code=UNKNOWN, message=record.error) if record.error else None


def _result(attachments: tuple[Attachment, ...], platform: str) -> BuildResultInfo:
    found = BuildResultInfo()
    for one in attachments:
        if one.platform != platform:
            continue
        blob = BlobDescriptor(media_type=one.media_type, digest=one.digest, size=one.size)
        if one.predicate:
            blob.annotations = {_PREDICATE: one.predicate}
            found.Attestations.append(blob)
        else:
            found.ResultDeprecated, found.Results = blob, {0: blob}
    return found
