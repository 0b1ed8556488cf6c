"""Parsers of COPY and ADD."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ketch.build.dockerfile.ast import Add, Copy, Instruction
from ketch.build.dockerfile.cursor import Cursor, Flags

_COPY = ("from", "chown", "chmod", "link?", "parents?", "exclude*")
_ADD = ("chown", "chmod", "link?", "exclude*", "checksum", "keep-git-dir?", "unpack?")


def parse_copy(cursor: Cursor) -> Copy:
    """``COPY [--from=…] [--chown=…] [--chmod=…] … source… destination``."""
    flags = cursor.flags(_COPY)
    return Copy(
        **_common(cursor, flags),
        from_=flags.text("from"),
        parents=bool(flags.switch("parents")),
    )


def parse_add(cursor: Cursor) -> Add:
    """``ADD [--chown=…] [--chmod=…] [--checksum=…] … source… destination``."""
    flags = cursor.flags(_ADD)
    return Add(
        **_common(cursor, flags),
        checksum=flags.text("checksum"),
        keep_git_dir=bool(flags.switch("keep-git-dir")),
        unpack=flags.switch("unpack"),
    )


def _common(cursor: Cursor, flags: Flags) -> dict[str, Any]:
    words, full = _words(cursor)
    _check_documents(cursor, words)
    return {
        "line": cursor.line,
        "comment": cursor.comment,
        "sources": words[:-1],
        "destination": words[-1],
        "chown": flags.text("chown"),
        "chmod": flags.text("chmod"),
        "link": bool(flags.switch("link")),
        "excludes": tuple(flag.value or "" for flag in flags.all("exclude")),
        "heredocs": cursor.heredocs,
        "with_comment": full,
    }


def _check_documents(cursor: Cursor, words: tuple[str, ...]) -> None:
    for document in cursor.heredocs:
        if document.word == words[-1]:
            raise cursor.error(f"{cursor.name} cannot accept a heredoc as a destination")
        if any(character.isspace() for character in document.word):
            raise cursor.error(
                f"a here-document of {cursor.name} has no blank behind its << or in its name"
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
            f"{cursor.name} requires at least two arguments, but only "
            f"{'one was' if words else 'none was'} provided. Destination could not be determined"
        )
    return words, full if cursor.comment is not None else ()


FILE_PARSERS: dict[str, Callable[[Cursor], Instruction]] = {"COPY": parse_copy, "ADD": parse_add}
