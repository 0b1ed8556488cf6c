"""What is written into a Dockerfile comes out of it again, whatever it is."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ketch.build.dockerfile.ast import Cmd, Copy, Env, Run
from ketch.build.dockerfile.expand import expand
from ketch.build.dockerfile.parser import parse

TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029\x85"),
    max_size=30,
)
NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)
ESCAPES = st.sampled_from("\\`")


def steps(text: str) -> tuple[object, ...]:
    return parse(text.encode()).stages[0].steps


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_exec_form(words: list[str]) -> None:
    for text in (json.dumps(words), json.dumps(words, ensure_ascii=False)):
        (step,) = steps(f"FROM a\nCMD {text}\n")
        assert isinstance(step, Cmd)
        assert (step.command.words, step.command.shell) == (tuple(words), False)


@given(st.lists(st.tuples(NAME, TEXT), min_size=1, max_size=4), ESCAPES)
def test_quoted_values(pairs: list[tuple[str, str]], escape: str) -> None:
    def quoted(value: str) -> str:
        for special in (escape, '"', "$"):
            value = value.replace(special, escape + special)
        return f'"{value}"'

    line = " ".join(f"{name}={quoted(value)}" for name, value in pairs)
    (step,) = steps(f"# escape={escape}\nFROM a\nENV {line}\n")
    assert isinstance(step, Env)
    found = [(name, expand(value, {}, escape)) for name, value in step.pairs]
    assert found == pairs


@given(st.lists(TEXT.filter(lambda line: line != "EOF" and not line.endswith("\r")), max_size=6))
def test_heredocs(lines: list[str]) -> None:
    content = "".join(f"{line}\n" for line in lines)
    run, copy, last = steps(
        f"FROM a\nRUN <<EOF\n{content}EOF\nCOPY <<'EOF' /x\n{content}EOF\nCMD []"
    )
    assert isinstance(run, Run)
    assert isinstance(copy, Copy)
    assert isinstance(last, Cmd)
    for step in (run, copy):
        (document,) = step.heredocs
        assert document.text == content


@given(st.lists(st.from_regex(r"[a-z0-9./=-]{1,10}", fullmatch=True), min_size=2, max_size=8))
def test_continuations_join(words: list[str]) -> None:
    joined = " \\\n  # a comment\n  ".join(words)
    (step,) = steps(f"FROM a\nRUN x {joined}\n")
    assert isinstance(step, Run)
    assert step.command.words[0].split() == ["x", *words]
    assert step.range.start.line == 2
    assert step.range.end.line == 2 + 2 * (len(words) - 1)
