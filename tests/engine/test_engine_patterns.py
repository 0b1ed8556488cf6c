"""Clients' regular expressions: Go's dialect, and none that holds the daemon up."""

from __future__ import annotations

import sys
from subprocess import run

import pytest

from ketch.engine import patterns
from ketch.engine.filters import name_matches
from ketch.errors import InvalidParameter


@pytest.mark.parametrize(
    ("pattern", "matched", "not_matched"),
    [
        ("web", "my-web-1", "wbe"),
        ("^web", "web-1", "my-web"),
        ("web$", "my-web", "web-1"),
        ("^web$", "web", "web\n"),
        ("", "anything", None),
        ("^w.b[0-9]+$", "wab12", "wab"),
        (r"(?i)WEB|db", "a-web", "wb"),
        (r"\pL\d$", "é7", "77"),
        (r"\Aweb\z", "web", "web\n"),
    ],
)
def test_the_dialect(pattern: str, matched: str, not_matched: str | None) -> None:
    assert patterns.is_found(pattern, matched)
    patterns.check(pattern)
    if not_matched is not None:
        assert not patterns.is_found(pattern, not_matched)


HOSTILE = [
    "(a+)+$", "(a|aa)+$", "(a*)*b$", r"(.*a){30}$", "(a?){500}a{500}b", ".*" * 1000 + "x",
    "(.|a|b)*" * 250 + "x",
]  # fmt: skip


@pytest.mark.timeout(60)  # by backtracking each of them takes longer than anybody lives
@pytest.mark.parametrize("pattern", HOSTILE)
def test_hostile_patterns(pattern: str) -> None:
    assert not patterns.is_found(pattern, "a" * 4000 + "!")


@pytest.mark.parametrize(
    "pattern",
    ["(", "a{2,1}", "(?=x)", r"(x)\1", "((a{100}){100}){100}", r"\pL" * 682, "(a)" * 5000],
)
def test_no_patterns(pattern: str) -> None:
    with pytest.raises(InvalidParameter, match="error parsing regexp"):
        patterns.check(pattern)
    with pytest.raises(InvalidParameter):
        patterns.is_found(pattern, "a")
    assert not name_matches(pattern, "a")


def test_text_that_is_no_unicode() -> None:
    assert patterns.is_found("a.*b$", "a\udc80b")
    assert not patterns.is_found("\udc80+", "a")


def test_plain_patterns_cost_no_library() -> None:
    code = (
        "import sys; from ketch.engine import patterns as p; p.is_found('^a-1$', 'b');"
        "p.check('x'); print('re2' in sys.modules)"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
