"""Images of another platform, built and run where binfmt_misc knows an interpreter for them.

Nothing is registered here, since that would change the machine for everybody: without an
interpreter only the refusals are tested (``test_e2e_indexes``, ``test_e2e_build_platforms``), and
the runtime's part in user namespaces (``test_oci_emulation``).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from arm64_program import arm64_program
from e2e.ketchd_process import Ketchd
from e2e.test_e2e_build_outputs import build
from ketch.engine.emulation import lacking
from ketch.oci import platform

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        bool(lacking(platform.parse("linux/arm64"))), reason="no interpreter for arm64"
    ),
]
ARM64 = ("--platform", "linux/arm64")
TEXT = """FROM scratch
COPY foreign /
RUN ["/foreign", "ends with 7"]
"""


def test_build_and_run(ketchd: Ketchd, tmp_path: Path, name: str) -> None:
    (tmp_path / "foreign").write_bytes(arm64_program())
    (tmp_path / "foreign").chmod(0o755)
    (tmp_path / "Dockerfile").write_text(TEXT)
    shown = build(ketchd, *ARM64, tmp_path, code=None).stderr.decode()
    assert "aarch64" in shown
    assert "returned a non-zero code: 7" in shown
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY foreign /\nCMD ["/foreign"]\n')
    build(ketchd, *ARM64, "-t", "emulated:1", tmp_path)
    done = ketchd.docker("run", "--name", name, *ARM64, "emulated:1", code=7)
    assert done.stdout == b"aarch64"
    ketchd.docker("rm", name)
    ketchd.docker("rmi", "emulated:1")
