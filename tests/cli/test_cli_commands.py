"""The table of commands: names of one, two and three words, and what is asked about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ketch.cli import commands, help


@pytest.mark.parametrize(
    ("line", "name", "rest"),
    [
        ("ps -a", "ps", ["-a"]),
        ("container list -a", "container ls", ["-a"]),
        ("builder history ls -q", "builder history ls", ["-q"]),
        ("buildx history remove x", "buildx history rm", ["x"]),
        ("build history show x", "builder history show", ["x"]),
        ("build history -t x", "build", ["history", "-t", "x"]),
    ],
)
def test_words_find_their_command(line: str, name: str, rest: list[str]) -> None:
    assert commands.find(commands.spelled(line.split())) == (name, rest)


@pytest.mark.parametrize(
    "line",
    ["", "nope", "container", "builder history", "builder history no", "build history no"],
)
def test_other_words_find_none(line: str) -> None:
    assert commands.find(commands.spelled(line.split())) is None


def test_a_context_may_be_called_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert commands.spelled(["build", "history"]) == ["builder", "history"]  # which is its help
    (tmp_path / "history").mkdir()
    assert commands.find(commands.spelled(["build", "history"])) == ("build", ["history"])


def test_a_group_lists_what_is_directly_in_it() -> None:
    assert list(commands.under("builder")) == ["build", "history", "prune"]
    assert list(commands.under("builder history")) == ["inspect", "logs", "ls", "rm", "show"]
    assert "  show " in help.of_group("builder history")
