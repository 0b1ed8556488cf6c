"""``docker buildx build`` with the real buildx."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.buildx_client import Buildx

pytestmark = pytest.mark.root


def test_a_build_says_in_files_what_it_made(each_buildx: Buildx, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo made > /made\n")
    told, metadata = tmp_path / "iid", tmp_path / "metadata.json"
    files = ("--iidfile", str(told), "--metadata-file", str(metadata))
    each_buildx.build("-t", "buildx:1", *files, str(tmp_path))
    made = json.loads(metadata.read_text())
    assert made["containerimage.digest"] == told.read_text()
    found = each_buildx.docker("image", "inspect", "-f", "{{.Id}}", "buildx:1").stdout.strip()
    assert found == told.read_text()
