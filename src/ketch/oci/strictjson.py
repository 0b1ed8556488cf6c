"""Refusing JSON that two readers could understand differently, or that is made to exhaust one.

Registries and archives are hostile. A document with a key twice has no single meaning (RFC 8259,
section 4), so it is refused before it is decoded; so are deep nesting and endless lists of tiny
values. The scan keeps only the keys of open objects.
"""

from __future__ import annotations

import re

import msgspec

from ketch.errors import DataCorrupt

LARGEST = 4 * 1024 * 1024
DEEPEST = 100
MOST_VALUES = 100_000
_TOKEN = re.compile(  # possessive, and a string without an end is a token too: linear time
    rb'"((?:[^"\\]++|\\(?:.|\Z))*+)(?:"|\Z)(\s*+:)?|([\[{])|([\]}])|,', re.DOTALL
)


def check(data: bytes, what: str, *, largest: int = LARGEST) -> bytes:
    """``data`` itself; raises ``DataCorrupt`` naming ``what`` it is and what is wrong with it.

    Whether it is JSON at all is left to the decoder.
    """
    if len(data) > largest:
        raise DataCorrupt(f"{what} is larger than {largest} bytes")
    open_values: list[set[bytes]] = []
    for count, token in enumerate(_TOKEN.finditer(data)):
        if count > MOST_VALUES:
            raise DataCorrupt(f"{what} has more than {MOST_VALUES} values")
        if token[3]:
            open_values.append(set())
            if len(open_values) > DEEPEST:
                raise DataCorrupt(f"{what} is nested deeper than {DEEPEST}")
        elif token[4] and open_values:
            open_values.pop()
        elif token[2] and open_values:
            _note_key(token[1], open_values, what)
    return data


def _note_key(raw: bytes, open_values: list[set[bytes]], what: str) -> None:
    key = _unescaped(raw, what)
    if len(open_values) == 1:
        key = key.lower()  # readers exist that take "Layers" for "layers"
    if key in open_values[-1]:
        raise DataCorrupt(f"{what} has the key {key.decode(errors='replace')!r} twice")
    open_values[-1].add(key)


def _unescaped(raw: bytes, what: str) -> bytes:
    if b"\\" not in raw:
        return raw
    try:
        return msgspec.json.decode(b'"' + raw + b'"', type=str).encode(errors="surrogatepass")
    except (msgspec.DecodeError, UnicodeError):
        raise DataCorrupt(f"{what} has a malformed key") from None
