"""Patterns of sources mean what Go's filepath.Match says of them, and take no time."""

from __future__ import annotations

import pytest

from ketch.errors import InvalidParameter
from ketch.layers.sources import expression


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.txt", ["a.txt", ".txt", "a\n.txt"], ["a.txt~", "atxt"]),
        ("a?c", ["abc", "a.c"], ["ac", "abbc"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "x"]),
        ("[^a-c]x", ["dx", "^x"], ["ax"]),
        ("[!x]y", ["!y", "xy"], ["ay"]),
        ("[x!]y", ["!y", "xy"], ["ay"]),
        (r"[\]a]", ["]", "a"], ["\\"]),
        (r"\*\?", ["*?"], ["ab", r"\*\?"]),
        (r"a\b", ["ab"], [r"a\b"]),
        ("a**b*c", ["abc", "axbxbc"], ["acb", "ab"]),
        ("*a*ab", ["aab", "xaxab", "aaab"], ["ab"]),
        ("{a,b}", ["{a,b}"], ["a"]),
        ("[a]]", ["a]"], ["a"]),
    ],
)
def test_as_go_matches(pattern: str, yes: list[str], no: list[str]) -> None:
    wanted = expression(pattern)
    assert [name for name in yes if not wanted.fullmatch(name)] == []
    assert [name for name in no if wanted.fullmatch(name)] == []


@pytest.mark.parametrize("pattern", ["[", "[a", "[]", "[]a]", "[-a]", "[a-]", "[^]", "a\\", "[a\\"])
def test_malformed(pattern: str) -> None:
    with pytest.raises(InvalidParameter, match="syntax error in pattern"):
        expression(pattern)


def test_many_stars_do_not_backtrack() -> None:
    """Or this would never end."""
    assert expression("*a" * 60 + "*b").fullmatch("a" * 255) is None
