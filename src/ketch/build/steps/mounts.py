"""Mounts of a RUN: from the words of the Dockerfile to what an executor makes."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

import msgspec

from ketch.build.dockerfile.ast import Run, RunMount
from ketch.build.dockerfile.parse_mount import settle
from ketch.build.dockerfile.scope import expand_in
from ketch.build.executor import CopyPart, StepMount, Tree
from ketch.build.failures import StepFailed
from ketch.build.steps.state import StageState
from ketch.errors import NotFound
from ketch.layers.globs import literal
from ketch.oci import digest as digests

_SECRETS = "/run/secrets/"
_AGENT = "/run/buildkit/ssh_agent.{}"
_MODES = {"cache": 0o755, "secret": 0o400, "ssh": 0o600}
Trees = Mapping[str, Tree]


async def resolve(state: StageState, step: Run, trees: Trees) -> tuple[StepMount, ...]:
    """All mounts of a step; ``trees`` has what their ``from`` names, and the context under ""."""
    found = []
    agents = 0
    for mount in step.mounts:
        settled = _settled(state, step, mount)
        for key in settled.idle:
            told = f"--mount: the key '{key}' means nothing for mounts of type {settled.type}"
            state.report.warn(told, mount.place.start.line)
        made = await _based(state, _mount(state, step, settled, trees))
        if made.type == "ssh":
            made = msgspec.structs.replace(made, number=agents)
            made = made if made.target else _at(made, _AGENT.format(agents))
            agents += 1
        found.append(made)
    return tuple(found)


async def offered(state: StageState, mounts: tuple[StepMount, ...]) -> tuple[StepMount, ...]:
    """Without the secrets and agents that the client does not offer; raises ``StepFailed`` when
    they are required."""
    return tuple([mount for mount in mounts if await _offered(state, mount)])


async def identity(state: StageState, mounts: tuple[StepMount, ...]) -> list[str]:
    """What of the mounts makes a RUN another one: contents of binds count and what caches begin
    with; what caches hold, secrets and agents don't."""
    words = []
    for mount in mounts:
        seen: tuple[object, ...] = (
            *(mount.type, mount.target, mount.writable, mount.id, mount.size, mount.env),
            *([mount.base] if mount.base else []),
        )
        if mount.type == "bind" and mount.tree is not None:
            words.append(f"{seen} {await _content(state, mount)}")
        else:
            words.append(f"{seen}")
    return words


async def _based(state: StageState, mount: StepMount) -> StepMount:
    """A cache with the identity of what it begins with: BuildKit has a cache for each state of what
    ``from`` names (and for each owner and mode that are asked for)."""
    if mount.type != "cache" or mount.tree is None:
        return mount
    if mount.tree.kind == "layers":
        found = " ".join((*mount.tree.layers, mount.source))
    else:
        found = await _content(state, mount)
    return msgspec.structs.replace(mount, base=digests.of(found.encode()))


async def _content(state: StageState, mount: StepMount) -> str:
    assert mount.tree is not None
    owners = mount.tree.kind == "layers"
    part = CopyPart(mount.tree, (literal(mount.source.lstrip("/")) or ".",), owners=owners)
    try:
        found = await state.shared.executor.checksum(part)
        if found.startswith("multi:"):
            raise NotFound(mount.source)  # a name like a pattern, which matches nothing
        return found
    except NotFound:
        told = f'failed to compute cache key: "{mount.source}": not found'
        if mount.tree.kind == "context":
            told += ": file not found in build context or excluded by .dockerignore"
        raise StepFailed(told) from None


async def _offered(state: StageState, mount: StepMount) -> bool:
    executor = state.shared.executor
    if mount.type == "secret":
        there = await executor.secret(mount.id) is not None
    elif mount.type == "ssh":
        there = await executor.has_agent(mount.id)
    else:
        return True
    if not there and mount.required:
        kind = "secret" if mount.type == "secret" else "ssh agent"
        raise StepFailed(
            f"{kind} {mount.id}: not found: the step requires it, give it with --{mount.type}"
        )
    return there


def _settled(state: StageState, step: Run, mount: RunMount) -> RunMount:
    def expand(word: str) -> str:
        return expand_in(step, word, state.variables(), state.shared.scope.escape)

    return settle(mount, expand, step.error)


def _mount(state: StageState, step: Run, mount: RunMount, trees: Trees) -> StepMount:
    def expand(word: str) -> str:
        return expand_in(step, word, state.variables(), state.shared.scope.escape)

    source = expand(mount.source)
    target = expand(mount.target)
    id = expand(mount.id)
    if mount.type == "secret":
        id = id or source or posixpath.basename(target)
        target = target or ("" if mount.env else _SECRETS + posixpath.basename(id))
    if mount.type == "ssh":
        id = id or source or "default"
    if mount.type == "cache":
        id = id or _absolute(state, target)
        space = state.shared.options.build_args.get("BUILDKIT_CACHE_MOUNT_NS")
        id = f"{space}/{id}" if space else id
    placed = target or mount.type not in ("secret", "ssh")  # without a target: in the directory
    absolute = _absolute(state, target) if placed else ""
    if absolute == "/":
        raise step.error(f'invalid mount target "{target}": the root itself stays what it is')
    writable = mount.type in ("cache", "tmpfs") if mount.writable is None else mount.writable
    begun = (mount.mode, mount.uid, mount.gid)
    own = mount.type == "cache" and not mount.from_ and begun != (None, None, None)
    has_tree = mount.type == "bind" or (mount.type == "cache" and mount.from_)
    return StepMount(
        type=mount.type,
        target=absolute,
        tree=trees[mount.from_] if has_tree else None,
        source=posixpath.normpath("/" + source.lstrip("/")) if has_tree else "/",
        writable=writable,
        id=id,
        base=digests.of(f"owned {begun}".encode()) if own else "",
        sharing=mount.sharing or "shared",
        required=mount.required,
        mode=_MODES.get(mount.type, 0) if mount.mode is None else mount.mode,
        uid=mount.uid or 0,
        gid=mount.gid or 0,
        size=mount.size,
        env=mount.env,
    )


def _absolute(state: StageState, path: str) -> str:
    joined = posixpath.normpath(posixpath.join("/", state.run.working_dir, path))
    return "/" + joined.lstrip("/")


def _at(mount: StepMount, target: str) -> StepMount:
    return msgspec.structs.replace(mount, target=target)
