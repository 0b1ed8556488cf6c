"""Regular expressions that clients send: Go's, matched in time linear in the text.

They are matched on the event loop, where Python's own ``re`` could be held up for hours by a
pattern that backtracks. RE2 (google-re2) has the dialect of Go's ``regexp`` and never backtracks.
It is imported when a pattern needs it, since it costs 3 MB.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    import re2

_LONGEST = 2048  # bytes; compiling takes up to 0.1 ms for each
_MOST_MEMORY = 1 << 20  # bytes for a compiled pattern and its automaton
_PLAIN = re.compile(r"(\^?)([\w/@:,=~ -]*)(\$?)", re.ASCII)


def check(pattern: str) -> None:
    """Raise ``InvalidParameter`` for what is no pattern, or too large a one."""
    if _PLAIN.fullmatch(pattern) is None:
        _compiled(pattern)


def is_found(pattern: str, text: str) -> bool:
    """Whether the pattern matches anywhere in ``text``; raises what ``check`` does."""
    plain = _PLAIN.fullmatch(pattern)
    if plain is None:
        return _compiled(pattern).search(text.encode(errors="replace")) is not None
    start, word, end = plain.groups()
    if start and end:
        return text == word
    if start:
        return text.startswith(word)
    return text.endswith(word) if end else word in text


def _compiled(pattern: str) -> re2._Regexp:
    found = _try_compile(pattern)
    if isinstance(found, str):
        raise InvalidParameter(f"error parsing regexp: {found}: `{pattern:.100}`")
    return found


@lru_cache(maxsize=64)
def _try_compile(pattern: str) -> re2._Regexp | str:
    """The pattern, or what is wrong with it: a list asks for every member."""
    import re2

    encoded = pattern.encode(errors="surrogatepass")  # a replacement could be an operator
    if len(encoded) > _LONGEST:
        return f"{len(encoded)} bytes are too long, at most {_LONGEST}"
    options = re2.Options()
    options.max_mem = _MOST_MEMORY
    options.never_capture = True  # else a match is looked at once more, by a slower automaton
    options.log_errors = False
    try:
        return re2.compile(encoded, options)
    except re2.error as error:
        return str(error.args[0].decode(errors="replace"))
