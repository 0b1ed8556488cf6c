"""Errors that know their place in a Dockerfile, as gRPC statuses carry them.

``grpc-status-details-bin`` holds a ``google.rpc.Status``; BuildKit's clients know a detail of the
type ``github.com/moby/buildkit/errdefs.Source+json`` (solver/errdefs, util/grpcerrors), whose value
is JSON, and print the excerpt of it.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from grpclib.encoding.base import StatusDetailsCodecBase

from ketch.build.dockerfile.source import DockerfileError
from ketch.build.failures import Place, StepFailed
from ketch.buildkit.messages.gateway import Any as Packed
from ketch.buildkit.messages.gateway import Status
from ketch.errors import Cancelled, KetchError

if TYPE_CHECKING:
    from ketch.engine.builder.history.files import Failure

_TYPE = "github.com/moby/buildkit/errdefs.Source+json"
_VERTEX = "github.com/moby/buildkit/errdefs.Vertex+json"
UNKNOWN = 2  # of google.rpc.Code


class Located(KetchError):
    """An error and its place, if it has one in a Dockerfile."""

    def __init__(self, error: KetchError, place: Place | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.details: list[tuple[str, bytes]] = []
        """For a ``GRPCError``: type URL and document."""
        if place is None:
            return
        data = "".join(f"{line}\n" for line in place.source.lines)
        where = (place.where.start.line, place.where.end.line)
        self.details.append(_source(place.source.name, data, *where))

    @classmethod
    def of(cls, error: KetchError, place: Place) -> Located:
        """One that is located already stays as it is."""
        return error if isinstance(error, Located) else cls(error, place)


class Returned(KetchError):
    """What a client that drives its build says has ended it: mostly an error that it was told, so
    its details go back as they came."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.details = [(detail.type_url, detail.value) for detail in status.details]


class DetailsCodec(StatusDetailsCodecBase):
    """What ``grpclib`` makes the trailer with: ``details`` are (type URL, document)."""

    def encode(self, status: Any, message: str | None, details: Any) -> bytes:
        """The bytes of a ``google.rpc.Status``."""
        packed = [Packed(type_url=url, value=value) for url, value in details or ()]
        return Status(code=status.value, message=message or "", details=packed).encode()

    def decode(self, status: Any, message: str | None, data: bytes) -> Any:
        """Details of a client's own error."""
        return [(detail.type_url, detail.value) for detail in Status.decode(data).details]


def reason(error: BaseException) -> str:
    """The words for a failed build; a client shows the excerpt of a Dockerfile itself."""
    if isinstance(error, Located):
        return reason(error.error)
    if isinstance(error, DockerfileError):
        return error.head
    if isinstance(error, StepFailed):
        return error.told
    if isinstance(error, Cancelled):
        return "context canceled"
    return str(error)


def failure_status(failure: Failure) -> bytes:
    """A failure of the history as a ``google.rpc.Status``: its place, and the step whose output
    belongs to it."""
    found = [(_VERTEX, json.dumps({"Digest": failure.vertex}).encode())] if failure.vertex else []
    if failure.lines:
        data = "\n" * (failure.begin - 1) + "".join(f"{line}\n" for line in failure.lines)
        found.append(_source(failure.filename, data, failure.first, failure.last))
    packed = [Packed(type_url=url, value=value) for url, value in found]
    return Status(code=UNKNOWN, message=failure.told, details=packed).encode()


def _source(name: str, data: str, first: int, last: int) -> tuple[str, bytes]:
    lines = {"start": {"line": first}, "end": {"line": last}}
    text = base64.b64encode(data.encode()).decode()
    info = {"filename": name, "data": text, "language": "Dockerfile"}
    return _TYPE, json.dumps({"info": info, "ranges": [lines]}).encode()
