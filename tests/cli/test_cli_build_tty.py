"""The picture of a build on a terminal: what a Dockerfile says is shown and never obeyed."""

from __future__ import annotations

import io
import re

import pytest

from ketch.cli import build_plain, build_tty, table
from ketch.cli.build_picture import Picture, columns, printable
from ketch.cli.build_plain import Plain
from ketch.cli.build_steps import Steps, everything, is_over, part_text
from ketch.cli.flags import Failure
from ketch.cli.main import main

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
    return re.sub(r"\x1b\[[?\d]*[AKJmhl]", "", out.getvalue().replace("\r", "")).split("\n")


def test_a_step_cannot_command_the_terminal() -> None:
    rows = drawn("RUN a\x1b]0;title\x07\x1b[2Jb\rc")
    assert not [c for row in rows for c in row if not c.isprintable()]


HOSTILE = "a\x1b]52;c;aGk=\x07\x1b[2J\x9b5n\u202eb"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def failed_build(out: io.StringIO, display: type[build_tty.Live] | type[build_plain.Plain]) -> str:
    """What stays on a terminal of a build in which everything is hostile."""
    shown = display(out)
    for event in (
        began(f"RUN {HOSTILE}"),
        {"type": "log", "digest": "d", "text": f"\x1b[31mred\x1b[0m {HOSTILE}\n", "at": 2},
        {"type": "warned", "digest": "d", "sentence": HOSTILE},
        {"type": "ended", "digest": "d", "error": HOSTILE, "at": 3},
    ):
        shown.feed(event)
    shown.finish()
    return out.getvalue()


@pytest.mark.parametrize("display", [build_tty.Live, build_plain.Plain])
def test_nor_can_what_is_told_of_a_failure(
    display: type[build_tty.Live] | type[build_plain.Plain],
) -> None:
    """Its output keeps its colours; nothing else of it reaches the terminal."""
    text = failed_build(Terminal(), display)
    assert "\x1b[31mred\x1b[0m" in text
    rest = re.sub(r"\x1b\[\??\d*[AKJmhl]|[\r\n]", "", text)
    assert not [c for c in rest if not c.isprintable()], repr(rest)
    assert "a\\x1b]52;c;aGk=\\x07\\x1b[2J\\x9b5n\\u202eb" in text


def test_a_file_gets_what_a_step_said_as_it_is() -> None:
    assert f"0.000 \x1b[31mred\x1b[0m {HOSTILE}\n" in failed_build(io.StringIO(), build_plain.Plain)


def test_errors_and_tables_quote_and_obey_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> int:
        raise Failure(HOSTILE)

    monkeypatch.setattr("ketch.cli.build.build", fails)
    assert main(["build", "."]) == 1
    assert capsys.readouterr().err == "a\\x1b]52;c;aGk=\\x07\\x1b[2J\\x9b5n\\u202eb\n"
    assert "\x1b" not in table.render(["NAME", "COMMAND"], [[HOSTILE, HOSTILE]])


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


def event(kind: str, digest: str, at: float = 1, **more: object) -> dict[str, object]:
    return {"type": kind, "digest": digest, "at": int(at * 1e9), **more}


def begun(digest: str, name: str, at: float = 1, **more: object) -> dict[str, object]:
    return {
        "type": "began",
        "vertex": {"digest": digest, "name": name, **more},
        "at": int(at * 1e9),
    }


def steps_of(*events: dict[str, object]) -> Steps:
    return everything(events)


def test_times_stand_at_the_right_however_long_the_name_is() -> None:
    steps = steps_of(begun("a", "[1/2] RUN " + "x" * 100), begun("b", "[2/2] RUN " + "한" * 100))
    picture = Picture(steps, 0, colours=False)
    _, first, second = picture.rows(int(3.5e9), 20, 41)
    assert first == " => [1/2] RUN " + "x" * 20 + "  2.5s"
    assert second.endswith("  2.5s")
    assert columns(second) == columns(first) == 40


def test_where_there_is_little_room_what_runs_is_seen() -> None:
    said = [event("log", "b", text="".join(f"line {n}\n" for n in range(9)))]
    events = [begun("a", "RUN early"), event("ended", "a"), begun("b", "RUN now"), *said]
    part = event("status", "b", id="", text="loading", current=5, total=9)
    picture = Picture(steps_of(*events, part, begun("c", "RUN too")), 0, colours=False)

    def rows(height: int) -> list[str]:
        return [row.strip().removeprefix("=> ") for row in picture.rows(10**9, height, 80)]

    assert len(rows(30)) == 1 + 3 + 1 + 6
    assert rows(7)[2].startswith("RUN now")
    assert rows(7)[-2:] == ["=> # line 8", rows(7)[-1]]
    assert len(rows(7)) == 7
    assert [row.split("  ")[0] for row in rows(4)[1:]] == ["RUN early", "RUN now", "RUN too"]
    assert [row.split("  ")[0] for row in rows(3)[1:]] == ["RUN now", "RUN too"]
    assert len(rows(2)) == 2


def test_an_image_of_several_stages_is_one_step() -> None:
    image = {"image": "docker.io/library/busybox:latest", "platform": "linux/amd64"}
    steps = steps_of(
        *(begun("a", "[one 1/2] FROM busybox", **image), event("ended", "a")),
        *(begun("b", "[two 1/2] FROM busybox", **image), event("ended", "b", 5)),
        begun("c", "[two 2/2] RUN true", inputs=["b"]),
    )
    assert [(step.name, step.cached) for step in steps.shown] == [
        ("[one 1/2] FROM busybox", True),
        ("[two 2/2] RUN true", False),
    ]
    assert steps.inputs_of(steps.shown[1]) == ["a"]
    layer = event("status", "a", id="12ab", text="Downloading", current=9, total=9)
    pulled = steps_of(begun("a", "FROM busybox", **image), layer, event("ended", "a"))
    assert not pulled.shown[0].cached


def test_what_is_canceled_is_told_from_what_failed() -> None:
    steps = steps_of(begun("a", "RUN one"), event("ended", "a"), begun("b", "RUN two"))
    steps.cancel(2 * 10**9)
    head, *rows = Picture(steps, 0, colours=True).last(2 * 10**9, 60)
    assert head == "[+] Building 2.0s (2/2) CANCELED"
    assert rows[1].startswith("\x1b[33m => CANCELED RUN two")
    steps = steps_of(begun("a", "RUN"), event("ended", "a", error="exit code: 7"))
    assert Picture(steps, 0, colours=False).last(0, 60)[0].endswith(" ERROR")


def test_colours_of_a_program_are_taken_out() -> None:
    assert printable("\x1b[31mred\x1b[0m\ta\x1b]0;title\x07b\x07") == "red     ab "


def test_parts_say_how_much_there_is() -> None:
    def told(**status: object) -> tuple[str, bool]:
        status = {"id": "", "text": "transferring context:", **status}
        return part_text(status), is_over(status)

    assert told(current=60_000_000, done=True) == ("transferring context: 60.00MB", True)
    assert told(current=999) == ("transferring context: 999B", False)
    assert told(current=1500, total=2_000_000) == ("transferring context: 1.50kB / 2.00MB", False)
    assert told() == ("transferring context:", True)
    assert told(current=5 * 10**15)[0].endswith(" 5000.00TB")


def test_of_what_a_step_writes_without_end_the_end_is_kept() -> None:
    steps = steps_of(begun("a", "RUN yes"))
    (step,) = steps.shown
    for n in range(400):
        steps.feed(event("log", "a", text=f"{n} {'x' * 20_000}\n"))
    assert 1 << 20 <= sum(map(len, step.logs)) < 3 << 20
    assert step.logs[-1].startswith("399 ")
    assert step.said(50).endswith("x\n")
    assert len(step.said(50)) < 25_000
    row = Picture(steps, 0, colours=False).rows(10**9, 20, 30)[-1]
    assert row == " => => # " + "x" * 20


def test_a_line_that_does_not_end_is_shown_in_pieces() -> None:
    out = io.StringIO()
    plain = Plain(out)
    plain.feed(begun("a", "RUN yes"))
    for _ in range(5):
        plain.feed(event("log", "a", text="x" * 40_000))
    lengths = [len(line) for line in out.getvalue().splitlines()]
    assert lengths == [len("#1 RUN yes"), 80_000 + len("#1 0.000 "), 80_000 + len("#1 0.000 ")]
