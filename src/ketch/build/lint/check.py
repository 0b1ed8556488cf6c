"""All checks of one Dockerfile."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator

from ketch.build.contexts.ignore import IgnoreRules
from ketch.build.dockerfile.ast import Add, Copy, Dockerfile
from ketch.build.dockerfile.expand import ExpansionError, expand
from ketch.build.dockerfile.scope import GlobalScope
from ketch.build.dockerfile.source import DockerfileError
from ketch.build.lint import rules
from ketch.build.lint.choice import Choice
from ketch.build.lint.guesses import Guesses
from ketch.build.lint.rules import Finding
from ketch.build.lint.stages import check_stages
from ketch.build.lint.variables import check_variables, names_after
from ketch.build.lint.workdirs import check_workdirs
from ketch.build.lint.writing import check_writing
from ketch.build.steps.copy import is_remote

Environment = Callable[[str], Collection[str] | None]


def check_file(
    dockerfile: Dockerfile,
    scope: GlobalScope,
    choice: Choice,
    built: Collection[int] | None = None,
) -> list[Finding]:
    """What can be told from the file alone; what counts, in the file's order.

    ``scope`` has the arguments before the first FROM and what the client gave;
    ``built`` are the indices of the stages that a build needs (None: all count).
    """
    found = _from_the_file(dockerfile, scope, choice, Guesses())
    return list(_of_built(found, dockerfile, built))


def _from_the_file(
    dockerfile: Dockerfile, scope: GlobalScope, choice: Choice, guesses: Guesses
) -> list[Finding]:
    found = [
        *check_writing(dockerfile),
        *check_stages(dockerfile, scope.platform, guesses),
        *check_workdirs(dockerfile, scope),
    ]
    return list(choice.kept(found))


def check_all(
    dockerfile: Dockerfile,
    scope: GlobalScope,
    choice: Choice,
    ignore: IgnoreRules,
    environment: Environment,
    built: Collection[int] | None = None,
) -> list[Finding]:
    """Also what depends on the context's ignore rules and on base images.

    ``environment`` gives the names of an image's variables; None when it is not known (then
    nothing is said about the variables of its stages).
    """
    guesses = Guesses()
    found = _from_the_file(dockerfile, scope, choice, guesses)
    more = [*_undefined(dockerfile, environment, guesses), *check_ignored(dockerfile, ignore)]
    kept = _of_built(choice.kept([*found, *more]), dockerfile, built)
    return sorted(kept, key=_order)


def _of_built(
    found: Iterable[Finding], dockerfile: Dockerfile, built: Collection[int] | None
) -> Iterator[Finding]:
    """Without what rules about steps say of stages that are not built, as BuildKit has it."""
    if built is None:
        yield from found
        return
    begins = [stage.base.range.start.line for stage in dockerfile.stages]
    for finding in found:
        stage = bisect_right(begins, finding.line) - 1
        if not finding.rule.steps or stage < 0 or stage in built:
            yield finding


def _order(finding: Finding) -> tuple[int, int]:
    """By lines; of one line as BuildKit comes to them."""
    ranks = {rules.STAGE_NAME_CASING: 0, rules.CONSISTENT_CASING: 2}
    return finding.line, ranks.get(finding.rule, 1)


def violated(found: Iterable[Finding]) -> str:
    """What a check with ``check=error=true`` ends with, in BuildKit's words."""
    names = ", ".join(dict.fromkeys(finding.rule.name for finding in found))
    return f"lint violation found for rules: {names}"


def violation(found: list[Finding], dockerfile: Dockerfile) -> DockerfileError:
    """The error of a build with ``check=error=true``."""
    told = "; ".join(f"{finding.detail} (line {finding.line})" for finding in found)
    return DockerfileError(f"{violated(found)}: {told}", dockerfile.source, found[0].place)


def _undefined(
    dockerfile: Dockerfile, environment: Environment, guesses: Guesses
) -> Iterator[Finding]:
    after: dict[str, Collection[str] | None] = {"scratch": ()}
    for stage in dockerfile.stages:
        image = stage.base.image
        env = after[image.lower()] if image.lower() in after else environment(image)
        if env is not None:
            yield from check_variables(stage, env, dockerfile.escape, guesses)
        if stage.base.alias:
            after[stage.base.alias] = None if env is None else names_after(stage, env)


def check_ignored(dockerfile: Dockerfile, ignore: IgnoreRules) -> Iterator[Finding]:
    """COPY and ADD of what the ignore file excludes."""
    for stage in dockerfile.stages:
        for step in stage.steps:
            if isinstance(step, Copy) and not step.from_:
                yield from _ignored(step, ignore, dockerfile.escape)


def _ignored(step: Copy, ignore: IgnoreRules, escape: str) -> Iterator[Finding]:
    inline = {document.word for document in step.heredocs}
    for source in step.sources:
        if source in inline or "$" in source or (isinstance(step, Add) and is_remote(source)):
            continue
        try:
            path = expand(source, {}, escape).strip("/").removeprefix("./")
        except ExpansionError:
            continue
        if path and path != "." and ignore.excludes(path):
            yield Finding(
                rules.COPY_IGNORED,
                f'Attempting to {step.name.capitalize()} file "{source}" that is excluded by '
                ".dockerignore",
                step.range,
                f"!{path} in .dockerignore",
            )
