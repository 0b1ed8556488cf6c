"""``.dockerignore`` patterns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.build.contexts.ignore import parse_ignore
from ketch.errors import InvalidParameter

CASES = [
    ("", "a", False),
    ("a", "a", True),
    ("a", "a/b/c", True),
    ("a", "b/a", False),
    ("/a", "a", True),
    ("./a", "a", True),
    ("a/", "a/b", True),
    ("a/../b", "b", True),
    ("../a", "a", False),
    (" a ", "a", True),
    ("# a", "# a", False),
    (" # a", "# a", True),
    ("*", "a", True),
    ("*", ".git", True),
    ("*.txt", "a.txt", True),
    ("*.txt", "d/a.txt", False),
    ("*/*.txt", "d/a.txt", True),
    ("a?", "ab", True),
    ("a?", "a/", False),
    ("[a-c]x", "bx", True),
    ("[^a-c]x", "bx", False),
    (r"a\*", "a*", True),
    (r"a\*", "ab", False),
    ("**", "a/b", True),
    ("**/x", "x", True),
    ("**/x", "a/b/x", True),
    ("**/x", "a/bx", False),
    ("**/x", "a/x/y", True),
    ("a/**", "a/b/c", True),
    ("a/**", "a", False),
    ("a/**/z", "a/z", True),
    ("a/**/z", "a/b/c/z", True),
    ("**/*.pyc", "a/b.pyc", True),
    ("**.log", "a/b.log", True),
    ("**/**/x", "a/x", True),
    ("a.b", "axb", False),
    ("a+(b)", "a+(b)", True),
    ("*.md\n!README.md", "README.md", False),
    ("*.md\n!README.md", "a.md", True),
    ("!README.md\n*.md", "README.md", True),
    ("d\n!d/keep", "d/keep", False),
    ("d\n!d/keep", "d/other", True),
    ("d\n!d/keep", "d/keep/in", False),
    ("*\n!src\nsrc/*.o", "src/a.o", True),
    ("*\n!src\nsrc/*.o", "src/a.c", False),
    ("! a\n", "a", False),
    ("a\r\n!b\r\n", "a", True),
    ("한글/*", "한글/x", True),
    ("\ufeffa", "a", True),
]


@pytest.mark.parametrize(("rules", "path", "excluded"), CASES)
def test_rules(rules: str, path: str, excluded: bool) -> None:
    assert parse_ignore(rules.encode()).excludes(path) is excluded


@pytest.mark.parametrize(
    ("rules", "path", "excluded"),
    [
        ("*a" * 20 + "b", "a" * 255, False),
        ("*a" * 20 + "*b", "a" * 254 + "b", True),
        ("**/a*/" * 20 + "**/b", "a/" * 2000 + "a", False),
        ("**/a*/" * 20 + "b", "a/" * 2000 + "b", True),
        ("a*[^b]*[^b]*[^b]*[^b]*[^b]*[^b]*c", "a" * 255, False),
    ],
)
def test_hostile_patterns_are_matched_without_backtracking(
    rules: str, path: str, excluded: bool
) -> None:
    """Each of these once took longer than anybody waits, and a build in it could not be ended."""
    assert parse_ignore(rules.encode()).excludes(path) is excluded


@pytest.mark.parametrize("rules", ["**a**b**c**d", "[a", "ok\n!", "a[", "[]a]", "[a-]"])
def test_bad_patterns_name_their_line(rules: str) -> None:
    with pytest.raises(InvalidParameter, match=r"\.dockerignore line \d"):
        parse_ignore(rules.encode())


def test_only_whole_directories_are_pruned() -> None:
    assert parse_ignore(b"d").prunes("d/e")
    assert not parse_ignore(b"d\n!d/keep").prunes("d")


@given(st.binary(max_size=60), st.text(min_size=1, max_size=20))
def test_any_rules(rules: bytes, path: str) -> None:
    try:
        parse_ignore(rules).excludes(path)
    except InvalidParameter:
        pass
