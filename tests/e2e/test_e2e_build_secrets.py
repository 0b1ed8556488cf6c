"""Secrets of a build leave not one byte in layers, history, logs, caches (scorecard A11)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit.buildx import Buildx
from e2e.files_below import files_below
from e2e.ketch_program import ketch
from e2e.ketchd_process import Ketchd

pytestmark = pytest.mark.root
SECRET = b"S3CRET-0f9b-never-kept"
TEXT = f"""FROM busybox AS first
RUN --mount=type=secret,id=t,required test "$(cat /run/secrets/t)" = {SECRET.decode()[::-1]} || true
RUN --mount=type=secret,id=t,env=TOKEN,required test -n "$TOKEN" && echo made > /made
FROM busybox
RUN --mount=type=cache,target=/c --mount=type=secret,id=t,target=/c/t,required wc -c < /c/t > /c/n
COPY --from=first /made /made
"""


def traces(*roots: Path) -> list[Path]:
    """Files below with the secret in them, gzip looked into."""
    found = []
    for path in files_below(*roots):
        if path.is_symlink():
            continue
        try:
            if not path.is_file():
                continue
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        if SECRET in data:
            found.append(path)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "context"
    place.mkdir()
    (place / "Dockerfile").write_text(TEXT)
    yield place
    (tmp_path / "secret").unlink(missing_ok=True)


def kept(ketchd: Ketchd, out: Path) -> list[Path]:
    """Everything that a build left anywhere, but for what its caller has."""
    return traces(ketchd.data, ketchd.run, ketchd.folder / "docker-config", out) + [
        path for path in [ketchd.log] if SECRET in path.read_bytes()
    ]


def test_nothing_of_a_secret_stays(ketchd: Ketchd, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "secret").write_bytes(SECRET)
    words = ["build", "--no-cache", "-t", "secret:1", "--secret", f"id=t,src={tmp_path / 'secret'}"]
    cache = f"type=local,dest={out / 'cache'},mode=max,cache-mounts=true"
    outputs = ("-o", f"type=oci,dest={out / 'oci.tar'}", "-o", "type=image")
    proofs = ("--attest", "type=provenance,mode=max", "--metadata-file", str(out / "metadata"))
    done = ketch(ketchd, *words, "--cache-to", cache, *outputs, *proofs, str(folder))
    (out / "said").write_bytes(done.stdout + done.stderr)
    ketchd.docker("save", "secret:1", "-o", str(out / "saved.tar"))
    (out / "history").write_text(ketchd.out("history", "--no-trunc", "secret:1"))
    (out / "record").write_bytes(ketch(ketchd, "build", "history", "logs", "^0").stdout)
    assert kept(ketchd, out) == []
    (folder / "Dockerfile").write_text(TEXT + "RUN --mount=type=secret,id=t false\n")
    failed = ketch(ketchd, *words, str(folder), code=None)  # a step that stands there
    assert SECRET not in failed.stdout + failed.stderr
    assert failed.returncode == 1
    assert kept(ketchd, out) == []
    ketchd.docker("rmi", "secret:1")


async def test_nor_of_one_that_a_session_serves(
    ketchd: Ketchd, folder: Path, tmp_path: Path
) -> None:
    client = Buildx(str(ketchd.socket))
    client.directories = {"context": folder, "dockerfile": folder}
    client.secrets = {"t": SECRET}
    async with client.connected():
        built = await client.build({"no-cache": "", "attest:provenance": "mode=max"})
    assert built.response
    assert ("secret", "t") in client.asked
    assert kept(ketchd, tmp_path / "nothing") == []
