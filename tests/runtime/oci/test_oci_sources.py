"""Sources of binds that mean something to the engine are plain files in a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ketch.runtime import oci_bundle


@pytest.mark.parametrize("source", ["image:0", "shm:1", "other", "/abs"])
def test_relative_sources(tmp_path: Path, source: str) -> None:
    spec = {
        "ociVersion": "1.0.2", "process": {"args": ["x"]}, "root": {"path": "x"}, "linux": {},
        "mounts": [{"destination": "/x", "source": source, "options": ["bind"]}],
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(spec))
    found = oci_bundle.load(str(tmp_path))["mounts"][0]["source"]
    assert found == (f"./{source}" if ":" in source else source)
