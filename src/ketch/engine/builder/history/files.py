"""What a build's record keeps of its outcome: how it came to be, and the configurations of images.

A provenance says what went into a build and how it was called; without being asked for more it has
no values of build arguments. Source: what BuildKit's history of builds offers for download.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from ketch.build.dockerfile.source import DockerfileError
from ketch.build.failures import Place, StepFailed
from ketch.build.request.attestations import Provenance
from ketch.engine.builder.outcome import documents
from ketch.engine.builder.outcome.documents import Predicate
from ketch.oci.digest import of

if TYPE_CHECKING:
    from ketch.engine.builder.outcome.documents import Invocation
    from ketch.engine.builder.outcome.result import Result

_AROUND = 6  # lines before and after
_LONGEST = 1000  # characters
IN_TOTO = "application/vnd.in-toto+json"
CONFIG = "application/vnd.docker.container.image.v1+json"


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """One file: ``size`` in bytes; ``predicate`` is the type of a statement, "" for other files;
    ``platform`` is that of the image that it is about."""

    digest: str
    size: int
    media_type: str
    platform: str
    predicate: str = ""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a build failed, in the words that clients show, and where: lines ``first`` to ``last`` of
    the Dockerfile, of which ``lines`` are some from number ``begin`` on; ``vertex`` is the digest
    of the step."""

    told: str
    filename: str = ""
    first: int = 0
    last: int = 0
    begin: int = 1
    lines: tuple[str, ...] = ()
    vertex: str = ""


def failure_of(error: Exception, place: Place | None = None) -> Failure:
    """Of a step that failed, or of anything else that ended a build."""
    told = error.told if isinstance(error, StepFailed) else str(error)
    if isinstance(error, DockerfileError):
        told, place = error.head, Place(error.source, error.where)
    if place is None:
        return Failure(told=told[:_LONGEST])
    first, last = place.where.start.line, place.where.end.line
    begin = max(1, first - _AROUND)
    lines = place.source.lines[begin - 1 : min(last, first + 50) + _AROUND]
    return Failure(
        told=told[:_LONGEST],
        filename=place.source.name,
        first=first,
        last=last,
        begin=begin,
        lines=tuple(line[:_LONGEST] for line in lines),
    )


class KeptFile(msgspec.Struct, frozen=True):
    """A file with its bytes."""

    about: Attachment
    data: bytes


def kept_files(
    results: Sequence[Result],
    attested: Sequence[Sequence[Predicate]],
    call: Invocation,
    *,
    stored: bool,
) -> list[KeptFile]:
    """Of each platform the configuration, if there is an image, and what was attested; without
    anything its provenance."""
    found = []
    for result, predicates in zip(results, attested or [()] * len(results), strict=True):
        platform = str(result.platform)
        if stored:
            found.append(_kept(result.config, CONFIG, platform))
        for each in predicates or [_provenance(call, platform)]:
            data = msgspec.json.format(msgspec.json.encode(each.document), indent=2)
            found.append(_kept(data, IN_TOTO, platform, each.kind))
    return found


def _provenance(call: Invocation, platform: str) -> Predicate:
    asked = Provenance()
    document = documents.provenance(asked, msgspec.structs.replace(call, platform=platform))
    return Predicate(documents.SLSA[asked.version], document, "")


def _kept(data: bytes, media_type: str, platform: str, predicate: str = "") -> KeptFile:
    about = Attachment(
        digest=of(data),
        size=len(data),
        media_type=media_type,
        platform=platform,
        predicate=predicate,
    )
    return KeptFile(about, data)
