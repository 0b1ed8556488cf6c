"""Builds where layers are directories: contexts are images there too, but nothing mounts them."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import assert_clean, clean_up
from e2e.ketch_program import ketch
from e2e.ketchd_process import Ketchd, busybox_tar, wait_for

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM busybox AS first
WORKDIR /work
COPY . .
RUN --mount=type=bind,target=/context cat /context/sub/file > /work/seen && ls -A > /work/list
FROM busybox
ADD archive.tar /unpacked/
COPY --from=first /work /work
RUN cat /work/seen /work/list; cat /unpacked/inside
"""


@pytest.fixture
def daemon() -> Iterator[Ketchd]:
    ketchd = Ketchd(Path(tempfile.mkdtemp(prefix="ketch-e2e-")), **{"storage-driver": "directory"})
    try:
        ketchd.start()
        ketchd.docker("import", "-", "busybox", input=busybox_tar())
        yield ketchd
        ketchd.shutdown_everything()
        assert_clean(ketchd)
    finally:
        clean_up(ketchd)


def test_a_build_without_erofs(daemon: Ketchd, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / ".dockerignore").write_text("secret\n")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/file").write_text("what was seen\n")
    (tmp_path / "archive.tar").write_bytes(_archive())
    shown = ketch(daemon, "build", "--progress=plain", "-t", "app", str(tmp_path)).stderr.decode()
    assert "what was seen" in shown
    assert "inside the archive" in shown
    assert "sub" in shown
    assert "secret\n" not in shown
    again = ketch(daemon, "build", "--progress=plain", str(tmp_path)).stderr.decode()
    assert again.count("CACHED") == 7
    wait_for(lambda: not daemon.unfinished(), "the build's directory stays")


def _archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        data = b"inside the archive\n"
        info = tarfile.TarInfo("inside")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return out.getvalue()
