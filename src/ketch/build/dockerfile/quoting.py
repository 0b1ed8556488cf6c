"""Strings quoted as Go's ``%q`` does, for texts that tools compare."""

from __future__ import annotations

_SHORT = {"\a": "a", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v"}


def go_quote(text: str) -> str:
    """``text`` in double quotes; what can't be printed becomes an escape."""
    return '"' + "".join(_escaped(character) for character in text) + '"'


def go_quote_rune(code: int) -> str:
    """A number in single quotes as the character that it stands for; U+FFFD where it is none."""
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        code = 0xFFFD
    return "'" + _escaped(chr(code), "'") + "'"


def _escaped(character: str, quote: str = '"') -> str:
    if character in (quote, "\\"):
        return "\\" + character
    if character in _SHORT:
        return "\\" + _SHORT[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
