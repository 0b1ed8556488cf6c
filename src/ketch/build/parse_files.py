"""Parsers of COPY and ADD."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ketch.build.ast import Add, Copy, Instruction
from ketch.build.cursor import Cursor
from ketch.build.words import Flag

_BUILDKIT_COPY = ("link", "parents", "exclude")
_BUILDKIT_ADD = ("link", "exclude", "checksum", "keep-git-dir", "unpack")


def parse_copy(cursor: Cursor) -> Copy:
    """``COPY [--from=…] [--chown=…] [--chmod=…] source… destination``."""
    flags = cursor.flags(("from", "chown", "chmod"), unsupported=_BUILDKIT_COPY)
    words, full = _words(cursor)
    return Copy(
        line=cursor.line,
        comment=cursor.comment,
        sources=words[:-1],
        destination=words[-1],
        from_=_value(flags, "from"),
        chown=_value(flags, "chown"),
        chmod=_value(flags, "chmod"),
        heredocs=cursor.heredocs,
        with_comment=full,
    )


def parse_add(cursor: Cursor) -> Add:
    """``ADD [--chown=…] [--chmod=…] source… destination``."""
    flags = cursor.flags(("chown", "chmod"), unsupported=_BUILDKIT_ADD)
    words, full = _words(cursor)
    return Add(
        line=cursor.line,
        comment=cursor.comment,
        sources=words[:-1],
        destination=words[-1],
        chown=_value(flags, "chown"),
        chmod=_value(flags, "chmod"),
        heredocs=cursor.heredocs,
        with_comment=full,
    )


def _words(cursor: Cursor) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words to use, and all words if a trailing comment was cut off."""
    words = cursor.json_words()
    full: tuple[str, ...] = ()
    if words is None:
        found = cursor.blank_words()
        full = tuple(word for _, word in found)
        words = full
        if "#" in full[2:]:
            index = full.index("#", 2)
            cursor.set_comment(found[index][0])
            words = full[:index]
    elif cursor.comment is not None:
        full = tuple(word for _, word in cursor.blank_words())
    if len(words) < 2:
        raise cursor.error(
            f"{cursor.name} requires at least two arguments, but only {len(words)} provided. "
            f"Destination could not be determined."
        )
    return words, full if cursor.comment is not None else ()


def _value(flags: Mapping[str, Flag], name: str) -> str:
    return flags[name].value or "" if name in flags else ""


FILE_PARSERS: dict[str, Callable[[Cursor], Instruction]] = {"COPY": parse_copy, "ADD": parse_add}
