"""Dockerfiles by the real buildx: what a client is told of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.buildx_client import Buildx

pytestmark = pytest.mark.root


TOLD = """\
FROM busybox AS base
ARG TARGETOS
ARG who=default empty
ENV B=2
ENV A=$who
RUN echo $who > /who
ONBUILD RUN true
EXPOSE 81 80/udp
LABEL x=1 x=2
COPY --chown=1:2 --chmod=640 Dockerfile <<hi /d/
x
hi
WORKDIR w
CMD ["sh", "-c", "true"]
"""


def test_the_history_is_in_buildkits_words(buildx: Buildx, tmp_path: Path) -> None:
    """As dockerd 28.5 has it."""
    (tmp_path / "Dockerfile").write_text(TOLD)
    words = ("--build-arg", "who=me", "--label", "y=3", "-t", "told:1")
    buildx.build(*words, str(tmp_path))
    docker = buildx.docker("history", "--no-trunc", "--format", "{{json .}}", "told:1")
    steps = [json.loads(line) for line in docker.stdout.splitlines()][::-1][1:]
    assert [step["CreatedBy"] for step in steps] == [
        "ARG TARGETOS=linux",
        "ARG who=me empty",
        "ENV B=2",
        "ENV A=me",
        "RUN |3 TARGETOS=linux who=me empty= /bin/sh -c echo $who > /who # buildkit",
        "EXPOSE [80/udp 81/tcp]",
        "LABEL x=1 x=2",
        "COPY --chown=1:2 --chmod=640 Dockerfile <<hi /d/ # buildkit",
        "WORKDIR /w",
        'CMD ["sh" "-c" "true"]',
    ]
    assert {step["Comment"] for step in steps} == {"buildkit.dockerfile.v0"}
    (image,) = json.loads(buildx.docker("image", "inspect", "told:1").stdout)
    assert image["Comment"] == "buildkit.dockerfile.v0"
    assert image["Config"]["ArgsEscaped"]
    assert image["Config"]["Labels"] == {"x": "2", "y": "3"}
    assert image["Config"]["OnBuild"] == ["RUN true"]


WRONG = """\
FROM busybox
ENV v=
CMD echo
LABEL a="${v:?is needed}"
"""


def test_a_check_expands_words_too(buildx: Buildx, tmp_path: Path) -> None:
    """What a build would fail with is said beside the warnings."""
    (tmp_path / "Dockerfile").write_text(WRONG)
    done = buildx.build("--call=check,format=json", str(tmp_path), code=1)
    found = json.loads(done.stdout)
    assert [each["ruleName"] for each in found["warnings"]] == ["JSONArgsRecommended"]
    assert "v: is needed" in found["buildError"]["message"]
    assert found["buildError"]["location"]["ranges"][0]["start"]["line"] == 4
    outline = buildx.build("--call=outline,format=json", str(tmp_path))
    assert list(json.loads(outline.stdout)) == ["sources"]


def test_warnings_have_their_place(buildx: Buildx, tmp_path: Path) -> None:
    """In full with ``--debug``, and by ``--check`` in BuildKit's order."""
    (tmp_path / "Dockerfile").write_text("# one\nfrom busybox as Up\nMAINTAINER me\nENV a=b\n")
    done = buildx.docker("--debug", "build", "--progress=plain", "--no-cache", str(tmp_path))
    assert "warnings found:" in done.stderr
    place = "Dockerfile:3\n--------------------\n"
    lines = "   1 |     # one\n   2 |     from busybox as Up\n   3 | >>> MAINTAINER me\n"
    assert place + lines in done.stderr
    checked = buildx.build("--check", str(tmp_path), code=1)
    rules = [line.split()[1] for line in checked.stdout.splitlines() if line[:8] == "WARNING:"]
    assert rules == ["StageNameCasing", "ConsistentInstructionCasing", "MaintainerDeprecated"]
    (tmp_path / "Clean").write_text("FROM busybox\n")
    clean = buildx.build("--call=check,format=json", "-f", str(tmp_path / "Clean"), str(tmp_path))
    found = json.loads(clean.stdout)
    assert found["warnings"] is None
    assert found["sources"][0]["filename"] == "Clean"
