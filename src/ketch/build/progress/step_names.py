"""What progress displays call a step, in BuildKit's words: arguments are filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress

from ketch.build.contexts.accounts import without_account
from ketch.build.dockerfile.ast import Copy, Instruction, Run, Workdir
from ketch.build.dockerfile.expand import ExpansionError, expand
from ketch.errors import InvalidParameter
from ketch.oci import reference as references

_VARIABLE = re.compile(r"(?<!\\)\$(?:(\w+)|\{(\w+)\})")


def name(instruction: Instruction, variables: Mapping[str, str]) -> str:
    """The instruction as it is carried out. What a RUN's shell expands stays: there only variables
    that are known get their values.

    Of a RUN that is nothing but a here-document, the first line of that is shown too.
    """

    def value(match: re.Match[str]) -> str:
        return variables.get(match[1] or match[2], match[0])

    word, blank, rest = instruction.text.partition(" ")
    text = f"{word.upper()}{blank}{rest}"
    if isinstance(instruction, Copy | Workdir):
        with suppress(ExpansionError):
            return without_account(expand(text, variables))
    text = _VARIABLE.sub(value, text)
    return f"{text} ({_summary(instruction)})" if _is_document(instruction) else text


def _is_document(instruction: Instruction) -> bool:
    if not isinstance(instruction, Run) or len(instruction.heredocs) != 1:
        return False
    return instruction.command.words[:1] == (instruction.heredocs[0].word,)


def _summary(step: Instruction) -> str:
    assert isinstance(step, Run)
    first, _, rest = step.heredocs[0].content.strip().partition("\n")
    return first.rstrip("\r") + ("..." if rest else "")


def image(text: str) -> str:
    """The full name of an image, as far as the text is a name."""
    try:
        return str(references.parse(text).tagged())
    except InvalidParameter:
        return text
