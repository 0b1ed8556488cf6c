"""The picture of a build on a terminal: what a Dockerfile says is shown and never obeyed."""

from __future__ import annotations

import io
import re

import pytest

from ketch.cli import build_tty

COLUMNS = 40


def began(name: str) -> dict[str, object]:
    vertex = {"digest": "d", "name": name, "number": 1, "total": 1, "layer": True}
    return {"type": "began", "vertex": vertex, "at": 1}


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ketch.cli.terminal.size", lambda: (20, COLUMNS))


def drawn(name: str) -> list[str]:
    """The rows of one picture, without what the display itself moves and colours."""
    out = io.StringIO()
    live = build_tty.Live(out)
    live.feed(began(name))
    return re.sub(r"\x1b\[\d*[AKJm]", "", out.getvalue().replace("\r", "")).split("\n")


def test_a_step_cannot_command_the_terminal() -> None:
    rows = drawn("RUN a\x1b]0;title\x07\x1b[2Jb\rc")
    assert not [c for row in rows for c in row if not c.isprintable()]


def test_wide_letters_take_two_columns() -> None:
    """A row that is longer than the terminal becomes two, and every later picture is off by one."""
    row = next(row for row in drawn("RUN echo " + "한글" * 40) if "RUN" in row)
    assert len(row.encode("euc_kr")) < COLUMNS


class Interrupting(io.StringIO):
    """The timer's signal comes in the middle of a write."""

    live: build_tty.Live | None = None
    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        if self.live is not None and self.writes < 10:
            self.live.draw()
        return super().write(text)


def test_the_timer_does_not_draw_into_a_picture_that_is_drawn() -> None:
    out = Interrupting()
    live = build_tty.Live(out)
    out.live = live
    live.feed(began("RUN true"))
    assert out.writes == 1
