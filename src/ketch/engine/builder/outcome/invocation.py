"""How a build was called and what went into it, for its provenance."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import msgspec

from ketch.build.contexts.git_remote import is_git, parse_remote
from ketch.build.dockerfile.ast import Instruction, Run
from ketch.build.steps.image_config import timestamp
from ketch.engine.builder.contexts.remote import GitSource, OwnDockerfile, WithDirectories
from ketch.engine.builder.contexts.source import TarSource
from ketch.engine.builder.outcome.documents import Invocation, Lent, Material
from ketch.oci import platform as platforms

if TYPE_CHECKING:
    from ketch.build.prepared import Prepared
    from ketch.engine.builder.contexts.source import Source
    from ketch.engine.builder.room import BuildRoom

_AGENT = "default"
_ACCOUNT = re.compile(r"://[^/@\s]*@")
_GIT_SECRETS = ("GIT_AUTH_HEADER", "GIT_AUTH_TOKEN")


def begun(room: BuildRoom, plan: Prepared, ref: str) -> Invocation:
    """What is known when a build begins."""
    return msgspec.structs.replace(
        begun_graph(room, ref, "dockerfile.v0"),
        filename=room.options.dockerfile,
        secrets=tuple(_lent(plan, "secret")),
        agents=tuple(_lent(plan, "ssh")),
        networked=room.options.network_mode != "none" and any(map(_has_network, _steps(plan))),
        dockerfile="".join(f"{line}\n" for line in plan.dockerfile.source.lines).encode(),
    )


def begun_graph(room: BuildRoom, ref: str, frontend: str) -> Invocation:
    """The same for a build whose steps come as a graph: of a client's, or of another front end."""
    options = room.options
    return Invocation(
        ref=ref,
        started=timestamp(),
        finished="",
        filename="",
        target=options.target,
        platform=str(platforms.host()),
        arguments={k: v for k, v in options.build_args.items() if v is not None},
        labels=options.labels,
        secrets=(),
        agents=(),
        contexts={name: _ACCOUNT.sub("://", value) for name, value in options.contexts.items()},
        vcs={key: value for key, value in options.vcs.items() if value},
        dockerfile=b"",
        materials=(),
        frontend=frontend,
    )


def ended(call: Invocation, room: BuildRoom, used: Sequence[Material]) -> Invocation:
    """With what went into the build: what its steps ``used``, and the context if it was fetched."""
    source, own = room.source, ["dockerfile"]
    if isinstance(source, OwnDockerfile):
        source = source.context
    elif isinstance(source, WithDirectories):
        source, own = source.context, []
    context = _fetched(source)
    if context is None:
        own = ["context", "dockerfile"]
    elif source is room.source:
        own = []
    directories = [*own, *{load.name: None for load in room.loads if load.name}]
    if not call.filename:  # a graph, whose directories are told by number
        directories = list({load.name.rpartition("#")[0]: None for load in room.loads})
    materials = dict.fromkeys((*used, *((context,) if context else ())))
    clones = [one for one in materials if is_git(one.uri)]
    return msgspec.structs.replace(
        call,
        finished=timestamp(),
        materials=sorted(materials, key=_place),
        origin=None if own else context,
        directories=directories,
        secrets=_with(call.secrets, _GIT_SECRETS if clones else ()),
        agents=_with(call.agents, [_AGENT] if any(map(_by_ssh, clones)) else ()),
    )


def _fetched(source: Source) -> Material | None:
    """A context that the engine fetched."""
    if isinstance(source, GitSource):
        return git_material(source.remote.url, source.remote.ref, source.commit)
    if isinstance(source, TarSource) and source.origin is not None:
        return Material(without_password(source.origin.url), source.origin.digest)
    return None


def _place(material: Material) -> tuple[int, str]:
    """Images, then repositories, then files, as BuildKit has it."""
    is_image = material.uri.startswith("pkg:")
    return (0 if is_image else 1 if is_git(material.uri) else 2), material.uri


def _by_ssh(material: Material) -> bool:
    return parse_remote(material.uri).is_ssh


def _with(lent: Sequence[Lent], names: Sequence[str]) -> list[Lent]:
    """What a clone takes if the client has it."""
    known = {one.id for one in lent}
    more = [Lent(name, optional=True) for name in names if name not in known]
    return sorted([*lent, *more], key=lambda one: one.id)


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
    for step in _steps(plan):
        for mount in step.mounts if isinstance(step, Run) else ():
            if mount.type == kind:
                default = _AGENT if kind == "ssh" else posixpath.basename(mount.target)
                name = mount.id or mount.source or default
                found[name] = found.get(name, True) and not mount.required
    return (Lent(name, optional) for name, optional in found.items())


def _steps(plan: Prepared) -> Iterator[Instruction]:
    return (step for planned in plan.plan.stages for step in planned.stage.steps)


def _has_network(step: Instruction) -> bool:
    return isinstance(step, Run) and step.network != "none"
