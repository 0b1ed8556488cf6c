"""Builds for several platforms, and builds that come to the same each time."""

from __future__ import annotations

import json
import os
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit.buildx import Buildx
from e2e.conftest import another
from e2e.ketchd_process import Ketchd
from e2e.registry_process import Registry
from e2e.test_e2e_build_outputs import build, copied, inspected
from ketch.engine.emulation import check_runs, runnable
from ketch.errors import InvalidParameter

pytestmark = pytest.mark.root
BOTH = ("--platform", "linux/amd64,linux/arm64")
TEXT = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\nENV A=$TARGETARCH\n"
EPOCH = "1600000000"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("platforms") / "r") as registry:
        yield registry


@pytest.fixture(scope="module")
def other(ketchd: Ketchd) -> Iterator[Ketchd]:
    """Another engine with the same busybox."""
    with another(ketchd) as daemon:
        yield daemon


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "context"
    place.mkdir()
    (place / "Dockerfile").write_text(TEXT)
    for arch in ("amd64", "arm64"):
        (place / arch).write_text(arch)
    return place


def test_an_index_is_kept_and_pushed(
    ketchd: Ketchd, folder: Path, registry: Registry, tmp_path: Path
) -> None:
    name = f"{registry.address}/multi:1"
    shown = build(ketchd, *BOTH, "-t", name, folder).stderr.decode()
    assert "[linux/arm64 1/1] COPY arm64 /arch" in shown
    assert ketchd.out("image", "inspect", "-f", "{{.Architecture}}", name) == "amd64"
    ketchd.out("push", name)
    index = inspected(f"docker://{name}")
    found = {entry["platform"]["architecture"]: entry["digest"] for entry in index["manifests"]}
    assert set(found) == {"amd64", "arm64"}
    copied(f"docker://{name}", f"dir:{tmp_path}/copy")
    ketchd.docker("rmi", name)
    (folder / "Dockerfile").write_text(f"FROM {name}\nCOPY Dockerfile /d\n")
    out = tmp_path / "tree"
    build(ketchd, *BOTH, "-o", out, folder)
    assert (out / "linux_amd64/arch").read_text() == "amd64"
    assert (out / "linux_arm64/arch").read_text() == "arm64"
    assert (out / "linux_arm64/d").is_file()


def test_a_run_for_a_platform_without_an_interpreter(ketchd: Ketchd, folder: Path) -> None:
    (folder / "Dockerfile").write_text('FROM scratch\nCOPY . /\nRUN ["/x"]\n')
    done = build(ketchd, "--platform", "linux/s390x", folder, code=None)
    assert done.returncode
    assert "RUN for linux/s390x can't run on linux/" in done.stderr.decode()


def test_levels_of_the_processor(tmp_path: Path) -> None:
    cpus = tmp_path / "cpuinfo"

    def levels(flags: str) -> list[str]:
        cpus.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
        found = runnable(str(tmp_path), str(cpus))
        return [one.variant for one in found if one.architecture == "amd64" and one.variant]

    if os.uname().machine != "x86_64":
        return
    second = "fpu cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"
    assert levels("fpu avx512f") == []
    assert levels(second) == ["v2"]
    assert levels(f"{second} abm avx avx2 bmi1 bmi2 f16c fma movbe xsave") == ["v2", "v3"]


def test_entries_of_binfmt_misc(tmp_path: Path) -> None:
    magic = "7f454c460201010000000000000000000200b700"
    entry = tmp_path / "qemu-aarch64"
    entry.write_text(f"enabled\ninterpreter /q\nflags: OCF\noffset 0\nmagic {magic}\nmask ff\n")
    check_runs("linux/arm64", str(tmp_path))
    for flags in ("flags: OC", "flags: "):
        entry.write_text(f"enabled\ninterpreter /q\n{flags}\noffset 0\nmagic {magic}\n")
        with pytest.raises(InvalidParameter, match="linux/arm64"):
            check_runs("linux/arm64", str(tmp_path))
    with pytest.raises(InvalidParameter, match="linux/riscv64"):
        check_runs("linux/riscv64", str(tmp_path))


async def test_several_platforms_as_buildx_asks(
    ketchd: Ketchd, folder: Path, tmp_path: Path
) -> None:
    client = Buildx(str(ketchd.socket))
    client.directories = {"context": folder, "dockerfile": folder}
    client.outputs = {0: tmp_path / "oci.tar"}
    async with client.connected():
        outcome = await client.build({"platform": BOTH[1]}, exporters=[("oci", {})])
    assert outcome.driven.metadata["refs.platforms"]
    assert len(outcome.driven.refs.refs) == 2
    assert outcome.response["containerimage.descriptor"]
    assert len(inspected(f"oci-archive:{tmp_path}/oci.tar")["manifests"]) == 2


REPEATED = """FROM busybox
COPY a /a/
RUN mkdir /made && echo 1 > /made/x && rm -f /a/none
WORKDIR /w
ENV B=c
"""


def test_the_same_digest_twice(ketchd: Ketchd, other: Ketchd, tmp_path: Path) -> None:
    """On two engines with data roots of their own (scorecard I10)."""
    place = tmp_path / "context"
    place.mkdir()
    (place / "Dockerfile").write_text(REPEATED)
    (place / "a").write_text("a")
    words = ("--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}", "--no-cache")
    target = tmp_path / "oci.tar"

    def digest(daemon: Ketchd) -> tuple[str, str]:
        build(daemon, *words, "-q", "-t", "same:1", "-o", "type=image", place)
        build(daemon, *words, "-o", f"type=oci,dest={target}", place)
        manifest = inspected(f"oci-archive:{target}")
        return daemon.out("image", "inspect", "-f", "{{.Id}}", "same:1"), json.dumps(manifest)

    first = digest(ketchd)
    assert digest(ketchd) == first
    created = ketchd.out("image", "inspect", "-f", "{{.Created}}", "same:1")
    assert created.startswith("2020-09-13T12:26:40")
    with tarfile.open(target) as archive:
        layer = archive.extractfile(archive.getmember(_last_layer(archive)))
        with tarfile.open(fileobj=layer) as tree:
            assert all(member.mtime <= int(EPOCH) for member in tree)
    ketchd.docker("rmi", "same:1")
    assert digest(other) == first
    other.docker("rmi", "same:1")


def _last_layer(archive: tarfile.TarFile) -> str:
    index = archive.extractfile("index.json")
    assert index is not None
    digest = json.load(index)["manifests"][0]["digest"]
    manifest = archive.extractfile(f"blobs/sha256/{digest[7:]}")
    assert manifest is not None
    return f"blobs/sha256/{json.load(manifest)['layers'][-1]['digest'][7:]}"


def test_verify(ketchd: Ketchd, tmp_path: Path) -> None:
    place = tmp_path / "context"
    place.mkdir()
    (place / "a").write_text("a")
    (place / "Dockerfile").write_text(REPEATED)
    words = ("--verify", "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}")
    build(ketchd, *words, place)
    without = build(ketchd, "--verify", place, code=None)
    assert "SOURCE_DATE_EPOCH" in without.stderr.decode()
    young = (
        "--build-arg",
        f"SOURCE_DATE_EPOCH={EPOCH}",
        "-o",
        "type=image,rewrite-timestamp=false",
    )
    refused = build(ketchd, *young, place, code=None)
    assert "rewrite-timestamp=false is not supported" in refused.stderr.decode()
    (place / "Dockerfile").write_text(
        "FROM busybox\nRUN echo 1 > /same\nRUN cat /proc/sys/kernel/random/uuid > /other\n"
    )
    done = build(ketchd, *words, place, code=None)
    said = done.stderr.decode()
    assert done.returncode == 1
    assert (
        "not reproducible: the step 'RUN /bin/sh -c cat /proc/sys/kernel/random/uuid > /other"
        in said
    )
    assert "other has another content" in said


def test_the_callers_environment_says_when(
    ketchd: Ketchd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    image = build(ketchd, "-q", tmp_path).stdout.decode().strip()
    assert ketchd.out("image", "inspect", "-f", "{{.Created}}", image).startswith("2020-09-13")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "noon")
    wrong = build(ketchd, tmp_path, code=None)
    assert "invalid SOURCE_DATE_EPOCH 'noon'" in wrong.stderr.decode()


def test_an_index_outlives_the_daemon(
    other: Ketchd, folder: Path, registry: Registry, tmp_path: Path
) -> None:
    name = f"{registry.address}/lasting:1"
    build(other, *BOTH, "--provenance=true", "-t", name, folder)
    other.stop(signal.SIGKILL)
    other.start()
    other.docker("image", "prune", "-f")  # collects what nothing names
    other.docker("builder", "prune", "-af")
    (tmp_path / "saved.tar").write_bytes(other.docker("save", name).stdout)
    assert len(inspected(f"oci-archive:{tmp_path}/saved.tar")["manifests"]) == 4
    copied(f"oci-archive:{tmp_path}/saved.tar", f"dir:{tmp_path}/saved")
    assert "Loaded image" in other.out("load", "-i", f"{tmp_path}/saved.tar")
    build(other, *BOTH, "--provenance=true", "-t", name, folder)
    other.out("push", name)
    assert len(inspected(f"docker://{name}")["manifests"]) == 4
    copied(f"docker://{name}", f"dir:{tmp_path}/copy")
    other.docker("rmi", name)
