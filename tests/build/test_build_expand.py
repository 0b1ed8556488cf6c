"""Variable expansion and quoting."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.build.dockerfile.expand import ExpansionError, expand, expand_text, expand_words

VARIABLES = {"v": "value", "e": "", "p": "/usr/local/lib", "t": "a.tar.gz", "s": "x y", "_1": "u"}

CASES = [
    ("plain", "plain"),
    ("$v", "value"),
    ("${v}", "value"),
    ("a${v}b", "avalueb"),
    ("$v$v", "valuevalue"),
    ("$v.x", "value.x"),
    ("$_1", "u"),
    ("$none", ""),
    ("${none}", ""),
    ("$", "$"),
    ("a$", "a$"),
    ("$.", "$."),
    ("$1", ""),
    ("$$", ""),
    (r"\$v", "$v"),
    (r"\\$v", r"\value"),
    ("'$v'", "$v"),
    ('"$v"', "value"),
    (r'"\$v"', "$v"),
    (r'"\a"', r"\a"),
    (r'"\""', '"'),
    (r"\a", "a"),
    ("a\"b c\"'d e'", "ab cd e"),
    (r"'\'", "\\"),
    ("${none:-d}", "d"),
    ("${e:-d}", "d"),
    ("${e-d}", ""),
    ("${none-d}", "d"),
    ("${v:-d}", "value"),
    ("${none:-$v}", "value"),
    ("${none:-${e:-${v}}}", "value"),
    ("${v:+d}", "d"),
    ("${e:+d}", ""),
    ("${e+d}", "d"),
    ("${none+d}", ""),
    ("${none:-'}'}", "}"),
    ("${none:-}", ""),
    ("${v:?no}", "value"),
    ("${p#*/}", "usr/local/lib"),
    ("${p##*/}", "lib"),
    ("${p%/*}", "/usr/local"),
    ("${p%%/*}", ""),
    ("${t%.*}", "a.tar"),
    ("${t%%.*}", "a"),
    ("${t#a.}", "tar.gz"),
    ("${t#nomatch}", "a.tar.gz"),
    ("${t#?}", ".tar.gz"),
    (r"${t#\*}", "a.tar.gz"),
    ("${t/a/b}", "b.tar.gz"),
    ("${t//a/b}", "b.tbr.gz"),
    ("${t/.*/}", "a"),
    ("${t//./}", "atargz"),
    ("${t/./$v}", "avaluetar.gz"),
    (r"${p/\/usr/X}", "X/local/lib"),
    ("${t/a/}", ".tar.gz"),
    ("${none/a/b}", ""),
    (r"${v/l/\/}", r"va\/ue"),
    (r"${v/l/\$v}\$", r"va\$vue$"),
    (r"${v/l/'x y'}", "vax yue"),
    (r"${v/l/${none:-\}}}", "va}ue"),
    (r'${v/l/"\\"}', r"va\\ue"),
    ("${v/l}/x}", "value"),
    ("${none:-a}b}${v/l/x}", "ab}vaxue"),
    ("한$v글", "한"),  # letters of all scripts belong to the name, as in BuildKit
    ("한${v}글", "한value글"),
    ("$v²", "value²"),
    ("$v가", ""),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_expand(text: str, expected: str) -> None:
    assert expand(text, VARIABLES) == expected


ERRORS = [
    ("${v", "missing '}'"),
    ("${", "bad substitution"),
    ("${}", "bad substitution"),
    ("${v:-x", "missing '}'"),
    ("${v:x}", "unsupported modifier"),
    ("${v^^}", "unsupported modifier"),
    ("'a", "single-quote"),
    ('"a', "double-quote"),
    ("${none:?give it}", "none: give it"),
    ("${none?}", "none: not allowed"),
    ("${t/a}", "missing '/'"),
    ("${v:-" * 80, "nested too deep"),
]


@pytest.mark.parametrize(("text", "expected"), ERRORS)
def test_errors(text: str, expected: str) -> None:
    with pytest.raises(ExpansionError, match=re.escape(expected)):
        expand(text, VARIABLES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$s", ["x", "y"]),
        ('"$s"', ["x y"]),
        ("a$s", ["ax", "y"]),
        ("$e", []),
        ('""', [""]),
        ("80/tcp", ["80/tcp"]),
        (r"a\ b", ["a b"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert expand_words(text, VARIABLES) == expected


def test_other_escape_character() -> None:
    assert expand("`$v C:\\$v", VARIABLES, "`") == "$v C:\\value"


def test_heredoc_keeps_quotes() -> None:
    assert expand_text("'$v' \"a\" \\$v \\n", VARIABLES) == "'value' \"a\" $v n"


def test_costly_patterns_are_refused() -> None:
    long = {"v": "a" * 5000}
    with pytest.raises(ExpansionError, match="too many"):
        expand("${v#*a*a*a*b}", long)


def test_growth_is_bounded() -> None:
    with pytest.raises(ExpansionError, match="1 MiB"):
        expand("$v" * 300, {"v": "a" * 5000})


TEXT = st.lists(
    st.one_of(
        st.sampled_from(
            ["$", "{", "}", ":", "-", "+", "?", "#", "%", "/", "'", '"', "\\", "*", "v"]
        ),
        st.text(max_size=3),
    ),
    max_size=25,
).map("".join)


def failure(function: Callable[..., object], text: str) -> ExpansionError | None:
    try:
        function(text, VARIABLES)
    except ExpansionError as error:
        return error
    return None


@given(TEXT)
def test_any_text_expands_or_says_why(text: str) -> None:
    for function in (expand, expand_text, expand_words):
        error = failure(function, text)
        assert error is None or 0 <= error.offset <= len(text)


@given(st.text(alphabet=st.characters(exclude_characters="\\'\"$"), max_size=40))
def test_text_without_specials_stays(text: str) -> None:
    assert expand(text, VARIABLES) == text
