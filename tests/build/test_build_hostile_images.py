"""Images and contexts that wait for the builder to run or to follow something of theirs."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from build.real import BUSYBOX, Bench

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.path.exists(BUSYBOX), reason="needs busybox-static"),
]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path / "engine")
    await bench.open()
    try:
        yield bench
        assert bench.leftovers() == []
    finally:
        await bench.close()


PLANTED = """FROM busybox
RUN mkdir -p /usr/bin /usr/local/bin /lib/x86_64-linux-gnu /lib64
RUN for p in gzip gunzip unpigz pigz xz unxz bzip2 zstd unzstd tar git python3 getent chown chmod; \
  do for d in /bin /usr/bin /usr/local/bin; do rm -f $d/$p; \
  echo '#!/bin/sh' > $d/$p; echo 'echo x > /owned; echo x > /tmp/owned' >> $d/$p; \
  /bin/busybox chmod 755 $d/$p; done; done
RUN cp /bin/gzip /lib/x86_64-linux-gnu/libnss_files.so.2 && \
  cp /bin/gzip /lib64/ld-linux-x86-64.so.2 && \
  echo /lib/evil.so > /etc/ld.so.preload && echo 'passwd: evil files' > /etc/nsswitch.conf
COPY --chown=guest:guest --chmod=755 file /copied
ADD --chown=guest archive.tar.gz /added/
USER guest
WORKDIR /made/by/the/builder
RUN echo ran
COPY --from=0 /bin/busybox /again
"""


async def test_nothing_planted_is_run(bench: Bench) -> None:
    """Decompressors, NSS libraries, interpreters and loaders of the image (scorecard A5)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("inside"))
    files = {"file": b"x", "archive.tar.gz": gzip.compress(packed.getvalue())}
    text = PLANTED.replace("COPY --from=0 /bin/busybox /again\n", "")
    built = await bench.build(text, files)
    names = {name for layer in built["layers"] for name in bench.names(layer)}
    assert {"copied", "added/inside", "made/by/the/builder", "usr/bin/gzip"} <= names
    assert not {name for name in names if "owned" in name}
    assert not os.path.exists("/owned")
    assert not os.path.exists("/tmp/owned")


MOUNTS = [
    "--mount=type=bind,source=link,target=/m",
    "--mount=type=bind,source=link/deeper,target=/m",
    "--mount=type=bind,from=evil,source=/link,target=/m",
    "--mount=type=cache,from=evil,source=/link,target=/m",
    "--mount=type=cache,from=evil,source=/link/../link,target=/m",
    "--mount=type=tmpfs,target=/link",
    "--mount=type=secret,id=s,target=/link/secret",
]


async def test_mounts_never_reach_the_host(bench: Bench, tmp_path: Path) -> None:
    """Links in the context, in stages and at targets lead inside, or nowhere (scorecard A9)."""
    host = tmp_path / "host"
    (host / "deeper").mkdir(parents=True)
    (host / "mark").write_text("of the host")
    (host / "deeper/mark").write_text("of the host")
    for mount, up in [(mount, up) for mount in MOUNTS for up in ("", "../" * 12)]:
        link = f"{up}{host}"
        text = (
            f"FROM busybox AS evil\nRUN ln -s {link} /link\n"
            f"FROM busybox\nRUN ln -s {link} /link\n"
            f"RUN {mount} cat /m/mark /link/mark; echo x > /m/w; echo x > /link/w; echo ran\n"
        )
        with suppress(AssertionError):  # a refusal is as good
            await bench.build(text, {"link": ("link", link)}, secrets={"s": b"value"})
        assert "of the host" not in bench.text
        assert sorted(os.listdir(host)) == ["deeper", "mark"]
        assert os.listdir(host / "deeper") == ["mark"]
    assert "ran" in bench.text


async def test_a_device_that_means_deletion_is_named(bench: Bench) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("dir/gone")
        entry.type = tarfile.CHRTYPE
        tar.addfile(entry)
    await bench.build("FROM busybox\nADD a.tar /t/\n", {"a.tar": packed.getvalue()}, fails=True)
    assert "entry 'gone': a character device 0:0 means deletion" in bench.outputs[-1].error


SWAPPED = [
    # A mount point is busy, but the directory that was made for it can be moved away.
    "--mount=type=tmpfs,target=/a/empty --mount=type=secret,id=s,target=/a/file mv /a /z",
    "--mount=type=tmpfs,target=/a/b/empty --mount=type=tmpfs,target=/a/b/file mv /a/b /z",
]


@pytest.mark.parametrize("step", SWAPPED)
async def test_mount_points_are_not_taken_away_elsewhere(
    bench: Bench, tmp_path: Path, step: str
) -> None:
    """A step swaps the way to its mounts for a link: the host's empty files stay (scorecard A9)."""
    host = tmp_path / "host"
    (host / "empty").mkdir(parents=True)
    (host / "file").touch()
    link = "/a/b" if "/a/b" in step else "/a"
    text = f"FROM busybox\nRUN {step} && ln -s {host} {link}\n"
    await bench.build(text, secrets={"s": b"value"})
    assert sorted(os.listdir(host)) == ["empty", "file"], bench.text
