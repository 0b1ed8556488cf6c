"""Failures of a build that is under way."""

from __future__ import annotations

import msgspec

from ketch.build.dockerfile.source import DockerfileError, Range, Source
from ketch.build.executor import RunStep
from ketch.errors import KetchError

_KILLED = 128  # exit codes above are signals, as a shell tells them


class Place(msgspec.Struct, frozen=True):
    """Where in a Dockerfile."""

    source: Source
    where: Range


class FailedRun(msgspec.Struct, frozen=True):
    """A RUN that ended badly, and the executor's name for what it changed (``RunOutcome.kept``);
    or where another step would have begun."""

    step: RunStep
    kept: str


class StepFailed(KetchError):
    """A step ended badly; ``code`` is the exit code of a RUN, or 0.

    ``told`` is the same in BuildKit's words, which its clients' users look for. ``image`` is the
    ID of the image as it was before the step, when that was stored. ``run`` is the RUN that it was,
    or one that would stand where it stood, ``vertex`` the digest of its vertex.
    """

    def __init__(self, message: str, code: int = 0, told: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.told = told or message
        self.image = ""
        self.run: FailedRun | None = None
        self.vertex = ""

    @property
    def is_repeatable(self) -> bool:
        """Whether another build that is at the same step now would come to the same: the command
        itself said no, was not killed, and had no secrets of its client's."""
        if self.run is None or self.code > _KILLED:
            return False
        return not any(mount.type in ("secret", "ssh") for mount in self.run.step.mounts)

    def repeated(self, vertex: str) -> StepFailed:
        """The same failure for another build, which has nothing of the step's changes."""
        again = StepFailed(str(self), self.code, self.told)
        again.vertex = vertex
        return again


def vertex_error(error: BaseException) -> str:
    """What the vertex says whose work ended so."""
    if isinstance(error, DockerfileError):
        return error.head  # clients show the place
    return (error.told if isinstance(error, StepFailed) else str(error)) or "canceled"
