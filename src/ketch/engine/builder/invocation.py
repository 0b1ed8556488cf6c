"""How a build was called and what went into it, for its provenance."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import msgspec

from ketch.build.ast import Run
from ketch.build.config import timestamp
from ketch.engine.builder.attestation_documents import Invocation, Lent, Material
from ketch.engine.builder.remote import GitSource, OwnDockerfile, WithDirectories
from ketch.oci import platform as platforms

if TYPE_CHECKING:
    from ketch.build.prepared import Prepared
    from ketch.engine.builder.room import BuildRoom

_AGENT = "default"


def begun(room: BuildRoom, plan: Prepared, ref: str) -> Invocation:
    """What is known when a build begins."""
    options = room.options
    return Invocation(
        ref=ref,
        started=timestamp(),
        finished="",
        filename=options.dockerfile,
        target=options.target,
        platform=str(platforms.host()),
        arguments={k: v for k, v in options.build_args.items() if v is not None},
        labels=options.labels,
        secrets=tuple(_lent(plan, "secret")),
        agents=tuple(_lent(plan, "ssh")),
        vcs={key: value for key, value in options.vcs.items() if value},
        dockerfile="".join(f"{line}\n" for line in plan.dockerfile.source.lines).encode(),
        materials=(),
    )


def ended(call: Invocation, room: BuildRoom, used: Sequence[Material]) -> Invocation:
    """With what went into the build: what its steps ``used``, and the context if it was fetched."""
    source = room.source
    whole = isinstance(source, GitSource)
    source = source.context if isinstance(source, WithDirectories) else source
    origin = repository(source) if isinstance(source, GitSource) else None
    context = origin
    if isinstance(source, OwnDockerfile) and isinstance(source.context, GitSource):
        context = repository(source.context)
    materials = (*used, *((context,) if context and context not in used else ()))
    return msgspec.structs.replace(
        call, finished=timestamp(), materials=materials, origin=origin, whole=whole
    )


def repository(source: GitSource) -> Material | None:
    """A repository that was cloned as a context."""
    return git_material(source.remote.url, source.remote.ref, source.commit)


def git_material(url: str, ref: str, commit: str) -> Material | None:
    """A commit of a repository."""
    if not commit:
        return None
    kind = "sha1" if len(commit) == 40 else "sha256"
    return Material(without_password(url) + (f"#{ref}" if ref else ""), f"{kind}:{commit}")


def without_password(url: str) -> str:
    """A URL that others may read."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    kept = f"{name}@{host}" if parts.scheme == "ssh" and ":" not in user else host
    return urlunsplit(parts._replace(netloc=kept))


def _lent(plan: Prepared, kind: str) -> Iterator[Lent]:
    """The secrets or agents that steps have mounts of, each once; what one step requires is not
    optional."""
    found: dict[str, bool] = {}
    steps = (step for planned in plan.plan.stages for step in planned.stage.steps)
    for step in steps:
        for mount in step.mounts if isinstance(step, Run) else ():
            if mount.type == kind:
                default = _AGENT if kind == "ssh" else posixpath.basename(mount.target)
                name = mount.id or mount.source or default
                found[name] = found.get(name, True) and not mount.required
    return (Lent(name, optional) for name, optional in found.items())
