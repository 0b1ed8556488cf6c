"""From a Dockerfile's bytes and the options to a build that may begin."""

from __future__ import annotations

import shlex

import msgspec

from ketch.build.dockerfile.ast import Dockerfile, Label, Stage
from ketch.build.dockerfile.parser import parse
from ketch.build.dockerfile.plan import Plan, make_plan
from ketch.build.dockerfile.scope import GlobalScope
from ketch.build.dockerfile.source import LogicalLine, Position
from ketch.build.lint.check import check_file, violation
from ketch.build.lint.choice import Choice, choice_of
from ketch.build.lint.rules import Finding
from ketch.build.request.options import BuildOptions
from ketch.build.request.refusals import check_options, check_syntax


class Prepared(msgspec.Struct, frozen=True):
    """A build that is known to be well formed; ``findings`` is what should be written otherwise."""

    dockerfile: Dockerfile
    plan: Plan
    scope: GlobalScope
    options: BuildOptions
    choice: Choice = Choice()
    findings: tuple[Finding, ...] = ()


def prepare(data: bytes, options: BuildOptions, platform: dict[str, str]) -> Prepared:
    """Parse and plan; ``platform`` maps TARGETPLATFORM, TARGETARCH… to their values.

    Raises ``DockerfileError``, ``InvalidParameter`` or ``Unsupported``: all that can be known
    before the first step.
    """
    check_options(options)
    dockerfile = parsed(data, options)
    scope, plan = planned(dockerfile, options, platform)
    if options.labels:
        plan = _with_labels(plan, options.labels)
    choice = choice_of(dockerfile, options.build_args)
    findings = check_file(dockerfile, scope, choice, plan.indices())
    if findings and choice.error:
        raise violation(findings, dockerfile)
    return Prepared(dockerfile, plan, scope, options, choice, tuple(findings))


def parsed(data: bytes, options: BuildOptions) -> Dockerfile:
    """The file; raises ``DockerfileError``, also for a front end that is not this one."""
    check_syntax(data, options.dockerfile, options.build_args.get("BUILDKIT_SYNTAX") or "")
    return parse(data, options.dockerfile)


def planned(
    dockerfile: Dockerfile, options: BuildOptions, platform: dict[str, str]
) -> tuple[GlobalScope, Plan]:
    """The arguments before the first FROM, and the stages that the target needs."""
    scope = global_scope(dockerfile, options, platform)
    return scope, make_plan(dockerfile, scope, options.target, options.contexts)


def global_scope(
    dockerfile: Dockerfile, options: BuildOptions, platform: dict[str, str]
) -> GlobalScope:
    """The arguments before the first FROM."""
    known = {**platform, "TARGETSTAGE": options.target or dockerfile.stages[-1].base.alias}
    known["TARGETSTAGE"] = known["TARGETSTAGE"] or "default"
    scope = GlobalScope(options.build_args, known, dockerfile.escape)
    for arg in dockerfile.global_args:
        scope.declare(arg)
    return scope


def _with_labels(plan: Plan, labels: dict[str, str]) -> Plan:
    """Add ``--label`` as a last step of the target, values not to be expanded."""
    pairs = tuple((shlex.quote(key), shlex.quote(value)) for key, value in sorted(labels.items()))
    text = "LABEL " + " ".join(f"{key}={value}" for key, value in pairs)
    target = plan.target
    source = target.stage.base.line.source
    line = LogicalLine(text, ((0, Position(len(source.lines) + 1, 1)),), source)
    steps = (*target.stage.steps, Label(line=line, pairs=pairs, given=True))
    stage = Stage(target.stage.index, target.stage.base, steps)
    stages = (*plan.stages[:-1], msgspec.structs.replace(target, stage=stage))
    return msgspec.structs.replace(plan, stages=stages)
