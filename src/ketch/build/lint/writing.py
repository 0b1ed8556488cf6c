"""Rules about how instructions are written: casing, continuations, old forms, comments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from ketch.build.dockerfile.ast import (
    Arg,
    Cmd,
    Dockerfile,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Stage,
)
from ketch.build.dockerfile.ast import Shell as ShellInstruction
from ketch.build.dockerfile.source import Position, Range
from ketch.build.lint import rules
from ketch.build.lint.descriptions import comment_above, described
from ketch.build.lint.rules import Finding

_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.I
)
_SHELL = re.compile(r"[$;&|<>*?`'\"\\(){}~#=]")
_PUBLIC = re.compile(r"(?:_|^)public(?:_|$)", re.I)


def instructions(dockerfile: Dockerfile) -> Iterator[Instruction]:
    """All of a file, in its order."""
    yield from dockerfile.global_args
    for stage in dockerfile.stages:
        yield stage.base
        yield from stage.steps


def check_writing(dockerfile: Dockerfile) -> Iterator[Finding]:
    """The findings of all rules of this module."""
    yield from _casing(dockerfile)
    for step in (step for stage in dockerfile.stages for step in stage.steps):
        yield from _secrets(step)
    for instruction in instructions(dockerfile):
        yield from _continuation(dockerfile, instruction)
        yield from _old_form(instruction)
        yield from _ports(instruction)
        yield from _description(dockerfile, instruction)
        if isinstance(instruction, Maintainer):
            yield Finding(
                rules.MAINTAINER,
                "Maintainer instruction is deprecated in favor of using label",
                instruction.range,
                f'LABEL org.opencontainers.image.authors="{instruction.author}"',
            )
    for stage in dockerfile.stages:
        yield from _repeated(stage)
    yield from _shell_form(dockerfile)


def word_of(instruction: Instruction) -> str:
    """The instruction's name as it is written."""
    return instruction.text.split(None, 1)[0]


def _casing(dockerfile: Dockerfile) -> Iterator[Finding]:
    """Of stages: an ARG before the first FROM neither counts nor is told of, as with BuildKit."""
    staged = [one for stage in dockerfile.stages for one in (stage.base, *stage.steps)]
    words = [word_of(instruction) for instruction in staged]
    lower = sum(word.islower() for word in words)
    majority = "lowercase" if lower > sum(word.isupper() for word in words) else "uppercase"
    for instruction, word in zip(staged, words, strict=True):
        wanted = word.lower() if majority == "lowercase" else word.upper()
        if word != wanted:
            yield Finding(
                rules.CONSISTENT_CASING,
                f"Command '{word}' should match the case of the command majority ({majority})",
                instruction.range,
                f"write {wanted}",
            )


def _continuation(dockerfile: Dockerfile, instruction: Instruction) -> Iterator[Finding]:
    place = instruction.range
    for number in range(place.start.line, place.end.line + 1):
        if not dockerfile.source.lines[number - 1].strip():
            where = Range(Position(number, 1), Position(number, 1))
            yield Finding(
                rules.NO_EMPTY_CONTINUATION,
                "Empty continuation line",
                where,
                "take the empty line out, or put a # in it",
            )
            return


def _secrets(instruction: Instruction) -> Iterator[Finding]:
    if not isinstance(instruction, Arg | Env):
        return
    for name, _ in instruction.pairs:
        if _SECRET.search(name) and not _PUBLIC.search(name):
            yield Finding(
                rules.SECRETS,
                "Do not use ARG or ENV instructions for sensitive data "
                f'({instruction.name} "{name}")',
                instruction.range,
                f"RUN --mount=type=secret,id={name.lower()},env={name} …",
            )


def _old_form(instruction: Instruction) -> Iterator[Finding]:
    if not isinstance(instruction, Env | Label):
        return
    words = instruction.text.split(None, 2)
    written = instruction.text.split(None, 1)[-1]
    if len(words) == 3 and not written.startswith(f"{instruction.pairs[0][0]}="):
        name = word_of(instruction)
        value = words[2] if re.fullmatch(r"[\w./:$@%+-]+|\".*\"", words[2]) else f'"{words[2]}"'
        yield Finding(
            rules.LEGACY_FORMAT,
            f'"{name} key=value" should be used instead of legacy "{name} key value" format',
            instruction.range,
            f"{name} {words[1]}={value}",
        )


def _ports(instruction: Instruction) -> Iterator[Finding]:
    if not isinstance(instruction, Expose):
        return
    for port in instruction.ports:
        number, _, protocol = port.partition("/")
        if "$" not in protocol and protocol != protocol.lower():
            yield Finding(
                rules.EXPOSE_CASING,
                f"Defined protocol '{port}' in EXPOSE instruction should be lowercase",
                instruction.range,
                f"EXPOSE {number}/{protocol.lower()}",
            )
        if ":" in re.sub(r"\$\{[^}]*\}", "", number):
            yield Finding(
                rules.EXPOSE_FORMAT,
                "EXPOSE instruction should not define an IP address or host-port mapping, "
                f"found '{port}'",
                instruction.range,
                f"EXPOSE {port.rpartition(':')[2]}",
            )


def _description(dockerfile: Dockerfile, instruction: Instruction) -> Iterator[Finding]:
    names: list[str] = []
    if isinstance(instruction, From):
        names = [instruction.alias] if instruction.alias else []
    elif isinstance(instruction, Arg):
        names = [name for name, _ in instruction.pairs]
    comment = comment_above(dockerfile, instruction)
    if names and comment and not any(described(comment, name) for name in names):
        name = names[0] if len(names) == 1 else "<arg_key>"
        yield Finding(
            rules.DESCRIPTION,
            f"Comment for {instruction.name} should follow the format: `# {name} <description>`",
            instruction.range,
            f"# {names[0]} {comment}, or an empty line between",
        )


def _repeated(stage: Stage) -> Iterator[Finding]:
    for kind in (Cmd, Entrypoint, Healthcheck):
        for step in [step for step in stage.steps if type(step) is kind][:-1]:
            yield Finding(
                rules.MULTIPLE,
                f"Multiple {word_of(step)} instructions should not be used in the same stage "
                "because only the last one will be used",
                step.range,
                f"take this {word_of(step)} out",
            )


def _shell_form(dockerfile: Dockerfile) -> Iterator[Finding]:
    """CMD and ENTRYPOINT for a shell that nobody chose, in the stage or in those it stands on."""
    chosen: dict[str, bool] = {}  # alias → whether the stage or one below it has a SHELL
    for stage in dockerfile.stages:
        is_chosen = chosen.get(stage.base.image.lower(), False)
        for step in stage.steps:
            is_chosen = is_chosen or isinstance(step, ShellInstruction)
            if isinstance(step, Cmd | Entrypoint) and step.command.shell and not is_chosen:
                yield _json_asked(step)
        if stage.base.alias:
            chosen[stage.base.alias] = is_chosen


def _json_asked(step: Cmd | Entrypoint) -> Finding:
    word = word_of(step)
    words = ", ".join(json.dumps(one) for one in _as_words(step.command.words[0]))
    return Finding(
        rules.JSON_ARGS,
        f"JSON arguments recommended for {word} to prevent unintended behavior "
        "related to OS signals",
        step.range,
        f"{word} [{words}], or a SHELL instruction if the shell is meant",
    )


def _as_words(command: str) -> list[str]:
    """The same in exec form: what needs a shell keeps one, which gives its place up."""
    if _SHELL.search(command):
        return ["/bin/sh", "-c", f"exec {command}"]
    return command.split()
