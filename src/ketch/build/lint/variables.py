"""The rule about variables that nothing declares."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress

from ketch.build.dockerfile.ast import (
    Arg,
    Copy,
    Env,
    Expose,
    Instruction,
    Label,
    Onbuild,
    Run,
    Stage,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from ketch.build.dockerfile.expand import ExpansionError, expand, expand_text
from ketch.build.dockerfile.parser import parse_trigger
from ketch.build.lint import rules
from ketch.build.lint.guesses import Guesses
from ketch.build.lint.recorder import Recorder
from ketch.build.lint.rules import Finding


def check_variables(
    stage: Stage, env: Collection[str], escape: str, guesses: Guesses
) -> Iterator[Finding]:
    """Findings in one stage whose base has the variables ``env``."""
    known = Recorder(dict.fromkeys(env, "x"))
    for step in stage.steps:
        with suppress(ExpansionError):  # that is an error, said where it counts
            for text in _documents(step):
                expand_text(text, known)
        for word in _words(step):
            with suppress(ExpansionError):
                expand(word, known, escape)
        for name in known.taken():
            yield _finding(step, name, known, guesses)
        if isinstance(step, Arg | Env):
            known.update(dict.fromkeys((name for name, _ in step.pairs), "x"))


def names_after(stage: Stage, env: Collection[str]) -> set[str]:
    """The variables that a stage continuing this one begins with (ARGs are inherited too, and what
    ONBUILD says is done first)."""
    names = set(env)
    for step in stage.steps:
        if isinstance(step, Onbuild):
            step = parse_trigger(step.trigger)
        if isinstance(step, Env | Arg):
            names.update(name for name, _ in step.pairs)
    return names


def _finding(step: Instruction, name: str, known: Collection[str], guesses: Guesses) -> Finding:
    near = guesses.near(name, lambda: known)
    hint = near.replace("mean ", "mean $") if near else ""
    return Finding(
        rules.UNDEFINED_VAR,
        f"Usage of undefined variable '${name}'{hint}",
        step.range,
        f"ARG {name} before it, or ${{{name}:-default}}",
    )


def _documents(step: Instruction) -> Iterator[str]:
    """Texts of here-documents, where quotes are ordinary characters."""
    if isinstance(step, Copy):
        yield from (document.text for document in step.heredocs if document.expand)


def _words(step: Instruction) -> Iterator[str]:
    """What is expanded of an instruction."""
    if isinstance(step, Env | Label):
        for pair in step.pairs:
            yield from pair
    elif isinstance(step, Arg):
        yield from (default for _, default in step.pairs if default)
    elif isinstance(step, Copy):
        inline = {document.word for document in step.heredocs}
        yield from (source for source in step.sources if source not in inline)
        yield from (step.destination, step.chown, step.chmod, *step.excludes)
    elif isinstance(step, Run):
        for mount in step.mounts:
            yield from (mount.source, mount.target, mount.id)
            yield from (value for _, value in mount.pending if value)
    elif isinstance(step, Expose):
        yield from step.ports
    elif isinstance(step, Volume):
        yield from step.paths
    elif isinstance(step, User | Workdir | Stopsignal):
        yield _only(step)


def _only(step: User | Workdir | Stopsignal) -> str:
    if isinstance(step, User):
        return step.user
    return step.path if isinstance(step, Workdir) else step.signal
