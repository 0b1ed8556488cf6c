"""Comments that describe the stage or argument below them: ``# name what it is``."""

from __future__ import annotations

from ketch.build.dockerfile.ast import Dockerfile, Instruction


def comment_above(dockerfile: Dockerfile, instruction: Instruction) -> str:
    """The comment in the line right above, without its ``#``; directives are none."""
    number = instruction.range.start.line - 1
    if number <= len(dockerfile.directives):
        return ""
    text = dockerfile.source.lines[number - 1].strip()
    return text.lstrip("#").strip() if text.startswith("#") else ""


def described(comment: str, name: str) -> bool:
    """Whether a comment is about that name."""
    return comment.split(None, 1)[:1] == [name]


def description_of(dockerfile: Dockerfile, instruction: Instruction, name: str) -> str:
    """What the comment says about ``name``; empty without one."""
    comment = comment_above(dockerfile, instruction)
    if not name or not described(comment, name):
        return ""
    return comment[len(name) :].strip()
