"""The first milestone's Dockerfile, byte for byte: trailing comments, ``ubuntu:22.04`` by a mirror.

The registry is Debian's, set as mirror for docker.io; what it serves as ``ubuntu:22.04`` is a small
root file system with the machine's own make and C compiler's output.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import clean_up
from e2e.ketchd_process import Ketchd
from e2e.registry_process import Registry
from e2e.rootfs_with_make import rootfs_with_make

pytestmark = pytest.mark.root

DOCKERFILE = """FROM ubuntu:22.04     # 베이스 이미지 지정
COPY . /app           # 파일 복사
RUN make /app         # 빌드 명령 실행
CMD ["/app/server"]   # 컨테이너 시작 시 실행할 명령
"""


@pytest.fixture(scope="module")
def mirrored() -> Iterator[Ketchd]:
    """A daemon whose mirror of docker.io holds ubuntu:22.04, and nothing else."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs the package docker-registry")
    folder = Path(tempfile.mkdtemp(prefix="ketch-e2e-"))
    with Registry(folder / "registry") as registry:
        daemon = Ketchd(folder / "d", **{"registry-mirror": f"http://{registry.address}"})
        try:
            daemon.start()
            reference = f"{registry.address}/library/ubuntu:22.04"
            daemon.docker("import", "-", reference, input=rootfs_with_make())
            daemon.docker("push", reference)
            daemon.docker("rmi", reference)
            yield daemon
            daemon.shutdown_everything()
        finally:
            clean_up(daemon)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "server.in").write_text("#!/bin/sh\necho served\n")
    return tmp_path


def test_it_builds_and_runs(mirrored: Ketchd, context: Path) -> None:
    # RUN's working directory is /, whose makefile comes with the base image.
    done = mirrored.docker("build", "-t", "korean", str(context))
    text = done.stdout.decode()
    assert "Successfully tagged korean:latest" in text
    for line in (1, 2, 4):
        assert f"line {line}" in text + done.stderr.decode()
    assert mirrored.out("run", "--rm", "korean") == "served"
    assert mirrored.out("inspect", "-f", "{{json .Config.Cmd}}", "korean") == '["/app/server"]'


def test_docker_pull_by_the_mirror(mirrored: Ketchd) -> None:
    mirrored.docker("pull", "ubuntu:22.04")
    assert "Status: Image is up to date" in mirrored.out("pull", "ubuntu:22.04")
