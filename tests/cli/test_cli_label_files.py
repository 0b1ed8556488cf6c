"""``--label-file``."""

from __future__ import annotations

from pathlib import Path

from ketch.cli.environment import labels


def test_a_line_without_a_value_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_text("# comment\nfrom=file\nalone\nempty=\n")
    assert labels(["given"], [str(file)]) == {"from": "file", "empty": "", "given": ""}
