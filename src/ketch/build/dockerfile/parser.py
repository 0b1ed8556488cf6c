"""Parser: tokens to a ``Dockerfile`` of stages, with its global arguments."""

from __future__ import annotations

import re
from functools import lru_cache

from ketch.build.dockerfile.ast import Arg, Dockerfile, From, Instruction, Onbuild, Stage
from ketch.build.dockerfile.cursor import Cursor
from ketch.build.dockerfile.lexer import RawInstruction, Tokens, lex
from ketch.build.dockerfile.parse_config import CONFIG_PARSERS
from ketch.build.dockerfile.parse_files import FILE_PARSERS
from ketch.build.dockerfile.parse_stage import STAGE_PARSERS
from ketch.build.dockerfile.source import DockerfileError, Position, Range, did_you_mean

PARSERS = {**STAGE_PARSERS, **FILE_PARSERS, **CONFIG_PARSERS}
_NAME = re.compile(r"\S+", re.ASCII)
_MOST_STAGES = 2000
_OFTEN = 16 << 10  # bytes of a file whose instructions are kept


def parse(data: bytes, name: str = "Dockerfile") -> Dockerfile:
    """The whole file; raises ``DockerfileError``. The latest are kept: builds come again."""
    return _parsed_once(data, name) if len(data) <= _OFTEN else _parsed(data, name)


@lru_cache(maxsize=16)
def _parsed_once(data: bytes, name: str) -> Dockerfile:
    return _parsed(data, name)


def _parsed(data: bytes, name: str) -> Dockerfile:
    tokens = lex(data, name)
    if not tokens.instructions:
        raise _empty(tokens)
    instructions = [parse_instruction(raw, tokens.escape) for raw in tokens.instructions]
    return _arrange(tokens, instructions)


def parse_trigger(trigger: str, escape: str = "\\") -> Instruction:
    """One instruction of an ONBUILD, kept in an image as text."""
    tokens = lex(trigger.encode(), "ONBUILD")
    if len(tokens.instructions) != 1:
        raise _empty(tokens)
    instruction = parse_instruction(tokens.instructions[0], escape)
    if isinstance(instruction, From | Onbuild):
        raise instruction.error(f"{instruction.name} isn't allowed as an ONBUILD trigger")
    return instruction


def parse_instruction(raw: RawInstruction, escape: str = "\\") -> Instruction:
    """One instruction; raises ``DockerfileError``."""
    match = _NAME.search(raw.line.text)
    word = match[0] if match else ""
    start = match.start() if match else 0
    parser = PARSERS.get(word.upper())
    if parser is None:
        hint = did_you_mean(word.upper(), PARSERS)
        reason = f"unknown instruction: {word}{hint}"
        raise raw.line.error(reason, start, start + len(word))
    instruction = parser(Cursor(raw, word.upper(), start + len(word), escape))
    if isinstance(instruction, Onbuild):
        _check_trigger(instruction, escape)
    return instruction


def _check_trigger(onbuild: Onbuild, escape: str) -> None:
    try:
        parse_trigger(onbuild.trigger, escape)
    except DockerfileError as error:
        raise onbuild.error(error.reason) from None


def _arrange(tokens: Tokens, instructions: list[Instruction]) -> Dockerfile:
    """Sort instructions into global arguments and stages."""
    global_args: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for instruction in instructions:
        if isinstance(instruction, From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            global_args.append(instruction)
        else:
            raise instruction.error(
                f"no build stage in current context: {instruction.name} stands before any FROM"
            )
    if len(stages) > _MOST_STAGES:
        raise stages[_MOST_STAGES][0].error(f"there are more than {_MOST_STAGES} stages")
    if not stages:
        raise instructions[-1].error("no build stage in current context: there is no FROM")
    return Dockerfile(
        tokens.source,
        tokens.escape,
        tokens.directives,
        tuple(global_args),
        tuple(Stage(i, base, tuple(steps)) for i, (base, steps) in enumerate(stages)),
    )


def _empty(tokens: Tokens) -> DockerfileError:
    start = Position(1, 1)
    reason = f"the Dockerfile ({tokens.source.name}) cannot be empty"
    error = DockerfileError(reason, tokens.source, Range(start, start))
    error.message = reason
    return error
