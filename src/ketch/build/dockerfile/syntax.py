"""Which front end a file is for, found before it is known to be a Dockerfile at all.

The directive may be in comments of ``#`` or ``//`` at the top of the file, after a ``#!`` line, or
a member of a JSON object. Source: Dockerfile reference, "syntax"; BuildKit's
frontend/dockerfile/parser/directives.go.
"""

from __future__ import annotations

import json
import re

_MOST = 1 << 20  # bytes that are looked at
_DIRECTIVES = tuple(
    re.compile(rf"^{mark}\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$") for mark in ("#", "//")
)


def syntax_of(data: bytes) -> tuple[str, int]:
    """The directive's text ("" without one) and its line, counted from 1."""
    text = data[:_MOST].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    lines = text.split("\n")
    first = 1 if lines[0].startswith("#!") else 0
    for directive in _DIRECTIVES:
        for number, line in enumerate(lines[first:], first + 1):
            match = directive.match(line.rstrip("\r"))
            if match is None:
                break
            if match[1].lower() == "syntax":
                return match[2], number
    return _in_object("\n".join(lines[first:])), first + 1


def _in_object(text: str) -> str:
    if not text.lstrip().startswith("{"):
        return ""
    try:
        found, _ = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return ""
    syntax = found.get("syntax") if isinstance(found, dict) else None
    return syntax if isinstance(syntax, str) else ""
