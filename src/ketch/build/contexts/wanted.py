"""Which paths of a client's directories a build's steps name: no others need be sent.

What the Dockerfile says is known before the first step, but for what base images bring in
(variables, triggers). So this is a guess that is nearly always right, and a step that wants other
paths has them brought when its turn comes. Where a word's meaning is open, all is wanted.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from ketch.build.contexts import named_contexts
from ketch.build.dockerfile.ast import Add, Arg, Copy, Env, Instruction, Run
from ketch.build.dockerfile.plan import PlannedStage, find_stage
from ketch.build.dockerfile.scope import GlobalScope, StageScope, expand_in
from ketch.build.dockerfile.source import DockerfileError
from ketch.build.lint.recorder import Recorder
from ketch.build.prepared import Prepared
from ketch.build.steps.copy import is_remote

ALL = "."
Paths = frozenset[str]
"""Relative paths and patterns, cleaned; with ``ALL`` among them the others don't matter."""

EVERYTHING: Paths = frozenset((ALL,))


def wanted(plans: Iterable[Prepared]) -> dict[str, Paths]:
    """By context (``""`` is the build's own), over all plans."""
    found: dict[str, set[str]] = {}
    for plan in plans:
        for context, path in _Guess(plan).paths():
            found.setdefault(context, set()).add(path)
    return {context: frozenset(paths) for context, paths in found.items()}


def cleaned(source: str) -> str:
    """A source as a path below its context."""
    return posixpath.normpath("/" + source).lstrip("/") or ALL


def covers(there: Paths, sources: Iterable[str]) -> bool:
    """Whether a context that has some paths has these. Another one below a path that is there may
    be a link's, whose target is not."""
    return ALL in there or all(cleaned(source) in there for source in sources)


class _Guess:
    """One plan, read without doing anything."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        outer = prepared.scope
        self._outer = GlobalScope(outer.given, outer.platform, outer.escape)
        self._outer.values = dict(outer.values)
        self._ends: dict[int, tuple[StageScope, dict[str, str]]] = {}

    def paths(self) -> Iterator[tuple[str, str]]:
        """Contexts and what is wanted of them."""
        for planned in self._prepared.plan.stages:
            if planned.base_stage is None:
                context = self._context(planned.image, planned.platform)
                if context is not None:
                    yield context, ALL
            yield from self._stage(planned)

    def _context(self, name: str, platform: str = "") -> str | None:
        """The directory that is meant by a name, if one is."""
        options = self._prepared.options
        value = named_contexts.find(options.contexts, name, platform or options.platform)
        if value is None or not value.startswith(named_contexts.LOCAL):
            return None
        return value.removeprefix(named_contexts.LOCAL)

    def _stage(self, planned: PlannedStage) -> Iterator[tuple[str, str]]:
        scope, env = StageScope(self._outer), dict[str, str]()
        if planned.base_stage is not None and planned.base_stage in self._ends:
            parent, env = self._ends[planned.base_stage]
            env = dict(env)
            scope.inherit(parent, env)
        self._ends[planned.stage.index] = scope, env
        for step in planned.stage.steps:
            if isinstance(step, Copy):
                yield from self._copied(step, planned.stage.index, scope.variables(env))
            elif isinstance(step, Run):
                yield from self._mounted(step, planned.stage.index, scope.variables(env))
            else:
                self._change(step, scope, env)

    def _change(self, step: Instruction, scope: StageScope, env: dict[str, str]) -> None:
        """What a step does to variables; one that can't be expanded fails when it is its turn."""
        try:
            if isinstance(step, Arg):
                scope.declare(step, env)
            elif isinstance(step, Env):
                values, escape = scope.variables(env), self._outer.escape
                for key, value in step.pairs:
                    env[expand_in(step, key, values, escape)] = expand_in(
                        step, value, values, escape
                    )
                    scope.newer.discard(key)
        except DockerfileError:
            pass

    def _copied(
        self, step: Copy, index: int, variables: dict[str, str]
    ) -> Iterator[tuple[str, str]]:
        context = self._source(step.from_, index)
        if context is None:
            return
        inline = {document.word for document in step.heredocs}
        words = step.sources if step.comment is None else (*step.with_comment[:-1], "#")
        for word in words:
            if word not in inline and not (isinstance(step, Add) and is_remote(word)):
                yield context, self._path(step, word, variables)

    def _mounted(
        self, step: Run, index: int, variables: dict[str, str]
    ) -> Iterator[tuple[str, str]]:
        for mount in step.mounts:
            if mount.type == "bind" or (mount.type == "cache" and mount.from_):
                context = self._source(mount.from_, index)
                if context is not None:
                    yield context, self._path(step, mount.source, variables)

    def _source(self, name: str, index: int) -> str | None:
        if not name:
            return ""
        if find_stage(self._prepared.dockerfile, name, index, numbers=True) is not None:
            return None
        return self._context(name)

    def _path(self, step: Instruction, word: str, variables: dict[str, str]) -> str:
        """``ALL`` where a variable may come from a base image, or the word is wrong."""
        known = Recorder(variables)
        try:
            path = cleaned(expand_in(step, word, known, self._outer.escape))
        except DockerfileError:
            return ALL
        return ALL if known.taken() else path
