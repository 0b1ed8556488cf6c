"""Failures of a build that is under way."""

from __future__ import annotations

import msgspec

from ketch.build.dockerfile.source import DockerfileError, Range, Source
from ketch.build.executor import RunStep
from ketch.errors import KetchError


class Place(msgspec.Struct, frozen=True):
    """Where in a Dockerfile."""

    source: Source
    where: Range


class FailedRun(msgspec.Struct, frozen=True):
    """A RUN that ended badly, and the executor's name for what it changed (``RunOutcome.kept``)."""

    step: RunStep
    kept: str


class StepFailed(KetchError):
    """A step ended badly; ``code`` is the exit code of a RUN, or 0.

    ``told`` is the same in BuildKit's words, which its clients' users look for. ``image`` is the
    ID of the image as it was before the step, when that was stored. ``run`` is the RUN that it was,
    ``vertex`` the digest of its vertex.
    """

    def __init__(self, message: str, code: int = 0, told: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.told = told or message
        self.image = ""
        self.run: FailedRun | None = None
        self.vertex = ""


def vertex_error(error: BaseException) -> str:
    """What the vertex says whose work ended so."""
    if isinstance(error, DockerfileError):
        return error.head  # clients show the place
    return (error.told if isinstance(error, StepFailed) else str(error)) or "canceled"
