"""Words of an instruction: by white space, by quotes, flags, and the JSON (exec) form."""

from __future__ import annotations

import json
import re

import msgspec

_WORD = re.compile(r"\S+", re.ASCII)
_JSON = json.JSONDecoder()
_HALVES = re.compile("[\ud800-\udfff]")


class Flag(msgspec.Struct, frozen=True):
    """``--name=value`` between the instruction's name and its arguments; ``start`` its offset."""

    name: str
    value: str | None
    start: int
    end: int


def split_blank(text: str, start: int = 0) -> list[tuple[int, str]]:
    """Words by (ASCII's) white space alone, with their offsets."""
    return [(match.start(), match[0]) for match in _WORD.finditer(text, start)]


def split_quoted(text: str, escape: str, start: int = 0) -> list[tuple[int, str]]:
    """Words by white space outside quotes; quotes and escapes stay in the words."""
    words: list[tuple[int, str]] = []
    position = start
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        end = quoted_end(text, position, escape)
        words.append((position, text[position:end]))
        position = end
    return words


def quoted_end(text: str, position: int, escape: str) -> int:
    """Where the word that begins at ``position`` ends."""
    quote = ""
    while position < len(text):
        character = text[position]
        if character == escape:
            position += 2
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character.isspace():
            return position
        position += 1
    return len(text)


def take_flags(text: str, start: int, escape: str) -> tuple[tuple[Flag, ...], int]:
    """The flags at ``start`` and the offset of what follows them; a lone ``--`` ends them."""
    flags: list[Flag] = []
    position = skip_blank(text, start)
    while text.startswith("--", position):
        end = quoted_end(text, position, escape)
        word = text[position:end]
        if word == "--":
            return tuple(flags), skip_blank(text, end)
        name, equals, value = word[2:].partition("=")
        bare = _strip_quotes(value, escape) if equals else None
        flags.append(Flag(name, bare, position, end))
        position = skip_blank(text, end)
    return tuple(flags), position


def skip_blank(text: str, position: int) -> int:
    """The offset of the next character that is not white space."""
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def exec_form(text: str, start: int) -> tuple[tuple[str, ...] | None, int] | None:
    """A JSON array at ``start`` (None in place of one that does not hold strings alone) and the
    offset behind it; None when there is none.

    Halves of surrogate pairs become U+FFFD, as in Go's JSON.
    """
    if not text.startswith("[", start):
        return None
    try:
        value, end = _JSON.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(item, str) for item in value):
        return None, end
    return tuple(_HALVES.sub("\ufffd", item) for item in value), end


def _strip_quotes(value: str, escape: str) -> str:
    out: list[str] = []
    characters = iter(value)
    for character in characters:
        if character == escape:
            out.append(next(characters, ""))
        elif character not in "\"'":
            out.append(character)
    return "".join(out)
