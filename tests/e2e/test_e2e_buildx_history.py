"""``docker buildx history``: what it shows of builds, and what it hands out."""

from __future__ import annotations

import json
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

from e2e.buildx_client import Buildx
from e2e.ketchd_process import Ketchd

pytestmark = pytest.mark.root


def test_builds_are_told_of(ketchd: Ketchd, buildx: Buildx, tmp_path: Path) -> None:
    def history(*words: str, code: int = 0) -> str:
        done = buildx.docker("buildx", "history", *words, code=code)
        return done.stdout + done.stderr

    (tmp_path / "Dockerfile").write_text(
        "FROM busybox AS first\nARG WORD\nRUN echo $WORD >/word\n"
        "FROM busybox\nRUN echo out; exit 7\n"
    )
    file = tmp_path / "metadata.json"
    buildx.build(
        *("-t", "told", "--target", "first", "--label", "a=b", "--build-arg", "WORD=said"),
        *("--metadata-file", str(file), str(tmp_path)),
    )
    buildx.build("--no-cache", str(tmp_path), code=1)
    failed, ref, *_ = history("ls", "--format", "{{.Ref}}").split()
    assert [failed] == history("ls", "--filter", "status=error", "--format", "{{.Ref}}").split()[:1]
    assert ref in history("ls", "--filter", "startedAt>1h", "--filter", f"ref={ref[:20]}")
    assert ref not in history("ls", "--filter", "duration>1h")

    told = json.loads(history("inspect", "--format", "json", ref))
    assert (told["Status"], told["Target"], told["Dockerfile"]) == (
        "completed",
        "first",
        "Dockerfile",
    )
    assert told["Labels"] == [{"Name": "a", "Value": "b"}]
    assert told["BuildArgs"] == [{"Name": "WORD"}]  # its value is not kept
    assert told["Materials"][0]["URI"].startswith("pkg:docker/busybox@latest")
    config, provenance = told["Attachments"]
    image = ketchd.out("inspect", "-f", "{{.Id}}", "told")
    assert config["Digest"] == image
    assert provenance["Type"] == "https://slsa.dev/provenance/v0.2"
    shown = json.loads(history("inspect", "attachment", ref, "--type", "provenance"))
    assert shown["invocation"]["parameters"]["args"] == {"target": "first"}
    assert json.loads(history("inspect", "attachment", ref, image))["rootfs"]["type"] == "layers"
    metadata = json.loads(file.read_text())
    assert metadata["buildx.build.provenance"]["materials"] == shown["materials"]

    assert "exit code: 7" in history("logs", failed)
    assert json.loads(history("inspect", "--format", "json", failed))["Status"] == "failed"
    shown = history("inspect", failed)
    for words in (
        "exit code: 7\n",
        "Dockerfile:5\n",
        "5 | >>> RUN echo out; exit 7\n",
        "\n> out\n",
    ):
        assert words in shown
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUNN true\n")
    buildx.build(str(tmp_path), code=1)
    shown = history("inspect")
    assert "unknown instruction: RUNN" in shown
    assert "2 | >>> RUNN true\n" in shown
    history("export", ref, "-o", str(tmp_path / "bundle"))
    with tarfile.open(tmp_path / "bundle") as bundle:
        assert f"blobs/{image.replace(':', '/')}" in bundle.getnames()
    history("export", "-o", str(tmp_path / "latest"))  # whose ref the client does not know
    with tarfile.open(tmp_path / "latest") as bundle:
        blobs = [bundle.extractfile(member).read() for member in bundle if member.isfile()]
    (manifest,) = [json.loads(blob) for blob in blobs if b"historyrecord.v0" in blob]
    (log,) = [one for one in manifest["layers"] if one["mediaType"].endswith("status.v0")]
    (told,) = [blob for blob in blobs if f"sha256:{sha256(blob).hexdigest()}" == log["digest"]]
    assert b"load build definition" in told
    history("rm", failed, ref)
    assert "no record found" in history("inspect", ref, code=1)
    ketchd.docker("rmi", "told")
