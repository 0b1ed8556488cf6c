"""The rule about a WORKDIR that depends on the base image's own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from ketch.build.dockerfile.ast import Arg, Dockerfile, Env, Stage, Workdir
from ketch.build.dockerfile.quoting import go_quote
from ketch.build.dockerfile.scope import GlobalScope, StageScope, expand_in
from ketch.build.dockerfile.source import DockerfileError
from ketch.build.lint import rules
from ketch.build.lint.rules import Finding


class _Ground:
    """What a stage begins with, or leaves to those that continue it."""

    def __init__(self, outer: GlobalScope) -> None:
        self.scope = StageScope(outer)
        self.env: dict[str, str] = {}
        self.has_workdir = False

    def above(self, outer: GlobalScope) -> _Ground:
        """That of a stage that continues this one."""
        ground = _Ground(outer)
        ground.scope.inherit(self.scope, self.env)
        ground.env, ground.has_workdir = dict(self.env), self.has_workdir
        return ground


def check_workdirs(dockerfile: Dockerfile, scope: GlobalScope) -> Iterator[Finding]:
    """The first WORKDIR of what stands on an image, with its variables expanded.

    Nothing is said where a variable is the base image's, which is not known here.
    """
    outer = copy.copy(scope)
    outer.consumed = set()  # which arguments a build takes is not for a check to say
    grounds: dict[str, _Ground] = {}
    for stage in dockerfile.stages:
        below = grounds.get(stage.base.image.lower(), _Ground(outer))
        ground = below.above(outer)
        try:
            yield from _of_stage(stage, ground, outer.escape)
        except DockerfileError:
            pass  # a word that can't be expanded: the build's own error
        if stage.base.alias:
            grounds[stage.base.alias] = ground


def _of_stage(stage: Stage, ground: _Ground, escape: str) -> Iterator[Finding]:
    for step in stage.steps:
        if isinstance(step, Arg):
            ground.scope.declare(step, ground.env)
        elif isinstance(step, Env):
            known = ground.scope.variables(ground.env)
            for name, value in step.pairs:
                ground.env[expand_in(step, name, known, escape)] = expand_in(
                    step, value, known, escape
                )
                ground.scope.newer.discard(name)
        elif isinstance(step, Workdir):
            if not ground.has_workdir:
                yield from _first(step, ground, escape)
            ground.has_workdir = True


def _first(step: Workdir, ground: _Ground, escape: str) -> Iterator[Finding]:
    unset = (name for name, value in ground.scope.args.items() if value is None)
    known = _Known({**dict.fromkeys(unset, ""), **ground.scope.variables(ground.env)})
    path = expand_in(step, step.path, known, escape)
    if not path.startswith("/") and not known.missed:
        yield Finding(
            rules.WORKDIR_RELATIVE,
            f"Relative workdir {go_quote(path)} can have unexpected results if the base image "
            "changes",
            step.range,
            f"WORKDIR /{path}",
        )


class _Known(dict[str, str]):
    """Notes that it was asked for what it does not know."""

    missed = False

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dict."""
        self.missed = self.missed or name not in self
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        found = super().__contains__(name)
        self.missed = self.missed or not found
        return found
