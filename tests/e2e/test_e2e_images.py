"""Images through the CLI: list, tag, build, save and load, a real registry."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import load_busybox
from e2e.ketchd_process import Ketchd, wait_for

pytestmark = pytest.mark.root


def test_list_inspect_history_tag_rmi(ketchd: Ketchd) -> None:
    assert "busybox" in ketchd.out("images", "--format", "{{.Repository}}").split("\n")
    document = json.loads(ketchd.out("image", "inspect", "busybox"))[0]
    assert document["RepoTags"] == ["busybox:latest"]
    assert document["Config"]["Cmd"] == ["sh"]
    assert ketchd.out("history", "-q", "busybox").split("\n")[0] in document["Id"]
    ketchd.docker("tag", "busybox", "other:1")
    assert "Untagged: other:1" in ketchd.out("rmi", "other:1")
    done = ketchd.docker("rmi", "nope", code=1)
    assert b"No such image: nope:latest" in done.stderr


def test_image_in_use(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("create", "--name", name, "busybox")
    done = ketchd.docker("rmi", "busybox", code=1)
    assert b"conflict" in done.stderr


def test_save_rmi_load(ketchd: Ketchd) -> None:
    archive = ketchd.docker("save", "busybox").stdout
    identity = ketchd.out("image", "inspect", "-f", "{{.Id}}", "busybox")
    ketchd.docker("rmi", "busybox")
    ketchd.docker("run", "--pull", "never", "--rm", "busybox", "true", code=125)
    assert "Loaded image: busybox:latest" in ketchd.docker("load", input=archive).stdout.decode()
    assert ketchd.out("image", "inspect", "-f", "{{.Id}}", "busybox") == identity
    assert ketchd.out("run", "--rm", "busybox", "echo", "hi") == "hi"


def test_garbage_is_no_image(ketchd: Ketchd) -> None:
    done = ketchd.docker("load", input=b"garbage" * 1000, code=None)
    assert done.returncode != 0 or b"error" in done.stderr.lower()


def test_commit(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "--name", name, "busybox", "sh", "-c", "echo made > /made")
    ketchd.docker("commit", "-c", 'CMD ["cat", "/made"]', name, "committed:1")
    assert ketchd.out("run", "--rm", "committed:1") == "made"
    ketchd.docker("rmi", "committed:1")


def test_several_images_in_one_archive(ketchd: Ketchd) -> None:
    """A name without a tag stands for all its tags; the archive goes through pipes."""
    for tag in ("many:1", "many:2", "single:1", "single:2"):
        ketchd.docker("tag", "busybox", tag)
    archive = ketchd.docker("save", "many", "single:1").stdout
    ketchd.docker("rmi", "many:1", "many:2", "single:1", "single:2")
    loaded = ketchd.docker("load", input=archive).stdout.decode()
    assert sorted(line.partition(": ")[2] for line in loaded.splitlines()) == [
        "many:1", "many:2", "single:1",
    ]  # fmt: skip
    ketchd.docker("rmi", "many:1", "many:2", "single:1")


def test_an_archive_of_before_docker_1_10(ketchd: Ketchd, tmp_path: Path) -> None:
    (tmp_path / "repositories").write_text('{"old":{"1":"' + "a" * 64 + '"}}')
    (tmp_path / ("a" * 64)).mkdir()
    for name, text in (("VERSION", "1.0"), ("json", '{"id":"' + "a" * 64 + '"}')):
        (tmp_path / ("a" * 64) / name).write_text(text)
    archive = subprocess.run(
        ["tar", "-C", tmp_path, "-c", "."], capture_output=True, check=True
    ).stdout
    done = ketchd.docker("load", input=archive, code=1)
    assert b"before Docker 1.10" in done.stderr


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("from the context\n")
    (tmp_path / "ignored").write_text("secret\n")
    (tmp_path / ".dockerignore").write_text("ignored\n")
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox AS base\n"
        "ARG WORD=default\n"
        "RUN echo $WORD > /word\n"
        "FROM base\n"
        "COPY . /app\n"
        "WORKDIR /app\n"
        "ENV A=b\n"
        "LABEL k=v\n"
        'CMD ["sh", "-c", "cat /word file; ls -A; echo $A"]\n'
    )
    return tmp_path


def test_build(ketchd: Ketchd, context: Path) -> None:
    text = ketchd.out("build", "-t", "app:1", "--build-arg", "WORD=given", str(context))
    assert "Step 1/9 : FROM busybox AS base" in text
    assert "Successfully tagged app:1" in text
    lines = ketchd.out("run", "--rm", "app:1").split("\n")
    assert lines[:2] == ["given", "from the context"]
    assert set(lines[2:-1]) == {".dockerignore", "Dockerfile", "file"}
    assert lines[-1] == "b"
    again = ketchd.out("build", "-t", "app:1", "--build-arg", "WORD=given", str(context))
    assert "Using cache" in again
    assert len(ketchd.out("build", "-q", str(context)).removeprefix("sha256:")) == 64
    ketchd.docker("rmi", "-f", "app:1")


def test_build_failures(ketchd: Ketchd, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN exit 3\n")
    done = ketchd.docker("build", str(tmp_path), code=None)
    assert done.returncode != 0
    assert b"returned a non-zero code: 3" in done.stderr
    (tmp_path / "Dockerfile").write_text("FROM busybox\nBOGUS x\n")
    done = ketchd.docker("build", str(tmp_path), code=1)
    assert b"unknown instruction: BOGUS" in done.stderr


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry, really started."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("needs the package docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\n"
        f"storage:\n  filesystem: {{rootdirectory: {folder}}}\n"
        f"  delete: {{enabled: true}}\nhttp: {{addr: 127.0.0.1:{port}}}\n"
    )
    process = subprocess.Popen(
        [program, "serve", str(folder / "config.yml")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
    )
    try:
        wait_for(lambda: _answers(port), "the registry did not start")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_push_and_pull(ketchd: Ketchd, registry: str) -> None:
    reference = f"{registry}/lib/bb:1"
    ketchd.docker("tag", "busybox", reference)
    assert "digest: sha256:" in ketchd.out("push", reference)
    ketchd.docker("rmi", "busybox", reference)
    text = ketchd.out("pull", reference)
    assert "Status: Downloaded newer image for" in text
    assert "Image is up to date" in ketchd.out("pull", reference)
    assert ketchd.out("run", "--rm", reference, "echo", "pulled") == "pulled"
    done = ketchd.docker("pull", f"{registry}/lib/none:1", code=1)
    assert b"not found" in done.stderr.lower() or b"unknown" in done.stderr.lower()
    ketchd.docker("rmi", reference)
    load_busybox(ketchd)
