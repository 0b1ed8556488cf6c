"""BuildKit builds by a real client: the docker command line of Debian, which has one inside."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from e2e.ketchd_process import Ketchd

DOCKER = "/usr/bin/docker"  # Debian's, of a version before buildx was a plug-in


def is_old_enough() -> bool:
    if not os.access(DOCKER, os.X_OK):
        return False
    said = subprocess.run([DOCKER, "--version"], capture_output=True, check=False).stdout
    return said.startswith((b"Docker version 19.", b"Docker version 20."))


pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not is_old_enough(), reason="needs docker 19 or 20 (docker.io)"),
]


def build(
    daemon: Ketchd, *words: str, input: bytes | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [DOCKER, "build", *words],
        env={**daemon.env(), "DOCKER_BUILDKIT": "1"},
        input=input,
        capture_output=True,
        timeout=100,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/file").write_bytes(b"content " * 50_000)
    (tmp_path / "run.sh").write_text("#!/bin/sh\nexec cat /app/deep/file\n")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "link").symlink_to("deep/file")
    (tmp_path / "left-out").write_text("never sent")
    (tmp_path / ".dockerignore").write_text("left-out\n")
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox AS made\nRUN echo made > /made\n"
        "FROM busybox\nCOPY . /app/\nCOPY --from=made /made /app/\n"
        'RUN ls -A /app && sleep 0.1 && echo to-stderr >&2\nCMD ["/app/run.sh"]\n'
    )
    return tmp_path


def test_a_build_of_stages_with_a_context(ketchd: Ketchd, context: Path) -> None:
    done = build(ketchd, "--progress", "plain", "--no-cache", "-t", "bkcli:1", str(context))
    assert done.returncode == 0, done.stderr
    assert "to-stderr" in done.stderr
    assert "left-out" not in done.stderr
    assert ketchd.out("run", "--rm", "bkcli:1") == ("content " * 50_000).strip()
    listed = ketchd.out("run", "--rm", "bkcli:1", "ls", "-l", "/app/link", "/app/run.sh")
    assert "link -> deep/file" in listed
    assert listed.splitlines()[1].startswith("-rwxr-xr-x")
    again = build(ketchd, "--progress", "plain", "-t", "bkcli:1", str(context))
    assert again.stderr.count("CACHED") == 5  # with the base image
    ketchd.docker("rmi", "bkcli:1")


def test_quiet_and_image_id_file(ketchd: Ketchd, context: Path, tmp_path: Path) -> None:
    file = tmp_path / "iid"
    done = build(ketchd, "-q", "--iidfile", str(file), str(context))
    assert done.stdout.strip() == file.read_text()
    assert ketchd.out("image", "inspect", "-f", "{{.Id}}", file.read_text()) == file.read_text()


def test_secrets(ketchd: Ketchd, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nRUN --mount=type=secret,id=t,required tr a-z A-Z < /run/secrets/t\n"
    )
    words = ("--progress", "plain", "--no-cache", str(tmp_path))
    done = build(ketchd, "--secret", f"id=t,src={tmp_path}/token", *words)
    assert "S3CRET" in done.stderr
    assert "secret t: not found" in build(ketchd, *words).stderr


def test_dockerfile_and_context_on_standard_input(ketchd: Ketchd, context: Path) -> None:
    done = build(ketchd, "-q", "-", input=b"FROM busybox\nLABEL from=stdin\n")
    assert ketchd.out("image", "inspect", "-f", "{{.Config.Labels}}", done.stdout.strip()) == (
        "map[from:stdin]"
    )
    archive = subprocess.run(["tar", "-C", context, "-c", "."], capture_output=True, check=True)
    done = build(ketchd, "-q", "-", input=archive.stdout)
    assert ketchd.out("run", "--rm", done.stdout.strip(), "cat", "/app/made") == "made"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "FROM busybox\nRUN exit 3\n",
            '"/bin/sh -c exit 3" did not complete successfully: exit code: 3',
        ),
        ("FROM busybox\nBOGUS\n", "unknown instruction: BOGUS"),
        ("FROM busybox\nCOPY nothing /\n", "nothing"),
    ],
)
def test_what_is_wrong(ketchd: Ketchd, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "Dockerfile").write_text(text)
    done = build(ketchd, "--progress", "plain", str(tmp_path))
    assert done.returncode == 1  # Docker's, whatever a step ended with
    assert said in done.stderr
