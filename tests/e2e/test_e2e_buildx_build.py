"""``docker buildx build`` with the real buildx."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest

from e2e.buildx_client import Buildx

pytestmark = pytest.mark.root


STAGES = """\
ARG TAG=latest
FROM scratch AS data
COPY f /f
FROM busybox:${TAG} AS base
ARG WHO=world
ENV A=b
RUN echo ${WHO} $A $unknown
RUN <<E
echo one
echo two
E
FROM busybox
COPY --from=data /f /g
COPY --from=base /bin/sh /sh2
LABEL no=layer
RUN sleep 0
"""


def steps(text: str) -> list[str]:
    """The names of the vertices in plain progress, in order."""
    found = re.findall(r"^#\d+ (\[.*|exporting .*)$", text, re.MULTILINE)
    return list(dict.fromkeys(name for name in found if not name.startswith("exporting l")))


def test_a_build_says_what_docker_says(each_buildx: Buildx, tmp_path: Path) -> None:
    """As dockerd 28.5 has it, but for the order of what happens side by side."""
    (tmp_path / "Dockerfile").write_text(STAGES)
    (tmp_path / "f").write_text("f")
    (tmp_path / ".dockerignore").write_text("nothing\n")
    told, metadata = tmp_path / "iid", tmp_path / "metadata.json"
    files = ("--iidfile", str(told), "--metadata-file", str(metadata), "--no-cache")
    done = each_buildx.build("-t", "buildx:1", "-t", "buildx:2", *files, str(tmp_path))
    assert sorted(steps(done.stderr)) == sorted(
        [
            "[internal] load build definition from Dockerfile",
            "[internal] load metadata for docker.io/library/busybox:latest",
            "[internal] load .dockerignore",
            "[internal] load build context",
            "[base 1/3] FROM docker.io/library/busybox:latest",
            "[base 2/3] RUN echo world b $unknown",
            "[base 3/3] RUN <<E (echo one...)",
            "[data 1/1] COPY f /f",
            "[stage-2 2/4] COPY --from=data /f /g",
            "[stage-2 3/4] COPY --from=base /bin/sh /sh2",
            "[stage-2 4/4] RUN sleep 0",
            "exporting to image",
        ]
    )
    for line in (
        "transferring dockerfile: [0-9]+B.* done",
        "transferring context: [0-9]+B.* done",
        "exporting layers .*done",
        f"writing image {told.read_text()} .*done",
        "naming to docker.io/library/buildx:2 .*done",
    ):
        assert re.search(rf"^#\d+ {line}$", done.stderr, re.MULTILINE), done.stderr
    made = json.loads(metadata.read_text())
    found = each_buildx.docker("image", "inspect", "-f", "{{.Id}}", "buildx:1").stdout.strip()
    assert found == told.read_text() == made["containerimage.digest"]
    assert made["containerimage.config.digest"] == told.read_text()
    assert made["image.name"] == "docker.io/library/buildx:1,docker.io/library/buildx:2"
    assert made["buildx.build.ref"].startswith("default/default/")


EXCERPT = """\
Dockerfile:{line}
--------------------
"""


@pytest.mark.parametrize(
    ("text", "line", "said", "vertex"),
    [
        (
            "FROM busybox\nRUN echo out; exit 3\n", 2,
            'process "/bin/sh -c echo out; exit 3" did not complete successfully: exit code: 3',
            "[2/2] RUN echo out; exit 3:",
        ),
        (
            "FROM busybox\nBOGUS\n", 2,
            "dockerfile parse error on line 2: unknown instruction: BOGUS", "",
        ),
        (
            "FROM busybox\nCOPY nothing /\n", 2,
            'failed to compute cache key: "/nothing": not found', "[2/2] COPY nothing /:",
        ),
        (
            "FROM 127.0.0.1:1/none\n", 1, "127.0.0.1:1/none",
            "[internal] load metadata for 127.0.0.1:1/none:latest:",
        ),
    ],
)  # fmt: skip
def test_a_failure_shows_its_place(
    buildx: Buildx, tmp_path: Path, text: str, line: int, said: str, vertex: str
) -> None:
    (tmp_path / "Dockerfile").write_text(text)
    done = buildx.build(str(tmp_path), code=1)
    assert "[internal] load build definition from Dockerfile" in done.stderr
    assert EXCERPT.format(line=line) in done.stderr
    assert f"{line} | >>> {text.splitlines()[line - 1]}" in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ERROR: failed to build: failed to solve: ")
    assert said in last
    assert not vertex or f"\n > {vertex}\n" in done.stderr


def test_several_outputs_of_one_build(each_buildx: Buildx, tmp_path: Path) -> None:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY f /f\n")
    (folder / "f").write_text("content")
    outputs = (
        f"type=local,dest={tmp_path}/files",
        f"type=tar,dest={tmp_path}/files.tar",
        f"type=oci,dest={tmp_path}/layout,tar=false",
        f"type=oci,dest={tmp_path}/oci.tar",
        "type=docker",
    )
    words = [word for output in outputs for word in ("-o", output)]
    done = each_buildx.build(*words, "-t", "several:1", str(folder))
    assert (tmp_path / "files/f").read_text() == "content"
    with tarfile.open(tmp_path / "files.tar") as archive:
        assert archive.getnames() == ["f"]
    index = json.loads((tmp_path / "layout/index.json").read_text())
    digest = index["manifests"][0]["digest"].replace(":", "/")
    assert (tmp_path / "layout/blobs" / digest).exists()
    with tarfile.open(tmp_path / "oci.tar") as archive:
        assert f"blobs/{digest}" in archive.getnames()
    for line in ("copying files", "sending tarball", "exporting manifest sha256:", "naming to "):
        assert re.search(rf"^#\d+ {line}.* done$", done.stderr, re.MULTILINE), done.stderr
    assert each_buildx.docker("image", "inspect", "-f", "{{.Size}}", "several:1").stdout == "7\n"
