"""What a look at a program reads of a tree that nobody vouches for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ketch.runtime import program_check


def test_lists_of_directories_that_include_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    read = program_check._text
    monkeypatch.setattr(program_check, "_text", lambda path: reads.append(path) or read(path))
    (tmp_path / "some.d").mkdir()
    (tmp_path / "ld.so.conf").write_text("/first  # a comment\ninclude some.d/*.conf\n\n/last\n")
    for number in range(30):
        text = f"/lib{number}\n" + f"include {tmp_path}/some.d/*.conf {tmp_path}/ld.so.conf\n" * 50
        (tmp_path / f"some.d/{number}.conf").write_text(text)
    found = program_check._configured(str(tmp_path / "ld.so.conf"))
    assert set(found) == {"/first", "/last", *(f"/lib{number}" for number in range(30))}
    assert len(reads) == len(set(reads)) == 31
