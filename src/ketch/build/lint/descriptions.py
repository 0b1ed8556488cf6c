"""Comments that describe the stage or argument below them: ``# name what it is``.

As BuildKit takes them: any comment since the instruction before, or since the last empty one, may
describe, and the first that begins with the name does. A ``#`` that does not stand first in its
line begins no description.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from ketch.build.dockerfile.ast import Dockerfile, Instruction


def comments_above(dockerfile: Dockerfile, instruction: Instruction) -> list[str]:
    """Those since the instruction before or an empty one, without their ``#``; directives are
    none."""
    upwards = _upwards(dockerfile, instruction, over_blank_lines=True)
    return list(takewhile(bool, upwards))[::-1]


def comment_above(dockerfile: Dockerfile, instruction: Instruction) -> str:
    """The comment in the line right above."""
    return next(_upwards(dockerfile, instruction, over_blank_lines=False), "")


def _upwards(
    dockerfile: Dockerfile, instruction: Instruction, *, over_blank_lines: bool
) -> Iterator[str]:
    for number in range(instruction.range.start.line - 1, len(dockerfile.directives), -1):
        line = dockerfile.source.lines[number - 1]
        if line.lstrip().startswith("#"):
            yield line[1:].strip()
        elif line.strip() or not over_blank_lines:
            return


def described(comment: str, name: str) -> bool:
    """Whether a comment is about that name."""
    return comment.split(None, 1)[:1] == [name]


def description_of(dockerfile: Dockerfile, instruction: Instruction, name: str) -> str:
    """What the comments say about ``name``; empty without one."""
    comments = comments_above(dockerfile, instruction) if name else []
    found = (comment for comment in comments if described(comment, name))
    return next(found, "")[len(name) :].strip()
