"""Images of several platforms: run, named, listed, pushed, saved, loaded and removed as a whole."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from e2e.conftest import another
from e2e.ketch_program import ketch
from e2e.ketchd_process import BUSYBOX, Ketchd
from e2e.registry_process import Registry
from e2e.test_e2e_build_outputs import build, copied, inspected
from ketch.engine.emulation import lacking
from ketch.oci import platform

pytestmark = pytest.mark.root
BOTH = ("--platform", "linux/amd64,linux/arm64")
ARM64 = ("--platform", "linux/arm64")
# the same program under both names: it is the choice that is tested, no emulator
TEXT = """FROM scratch
ARG TARGETARCH
COPY busybox /bin/
COPY $TARGETARCH /arch
CMD ["/bin/busybox", "cat", "/arch"]
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("indexes") / "r") as registry:
        yield registry


@pytest.fixture(scope="module")
def other(ketchd: Ketchd) -> Iterator[Ketchd]:
    with another(ketchd) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("context")
    (place / "Dockerfile").write_text(TEXT)
    shutil.copy(BUSYBOX, place / "busybox")
    (place / "busybox").chmod(0o755)
    for arch in ("amd64", "arm64"):
        (place / arch).write_text(f"{arch}\n")
    return place


@pytest.fixture
def multi(ketchd: Ketchd, folder: Path) -> Iterator[str]:
    """An index of two images with attestations, by its name."""
    build(ketchd, *BOTH, "--provenance=true", "-t", "multi:1", folder)
    yield "multi:1"
    ketchd.docker("rmi", "-f", "multi:1", code=None)


def arch(ketchd: Ketchd, ref: str, *words: str) -> str:
    return ketchd.out("image", "inspect", *words, "-f", "{{.Architecture}}", ref)


def manifests(daemon: Ketchd, ref: str) -> dict[str, Any]:
    client = docker.APIClient(base_url=f"unix://{daemon.socket}", version="1.48")
    try:
        url = client._url("/images/{0}/json", ref)
        return dict(client._result(client._get(url, params={"manifests": "1"}), True))
    finally:
        client.close()


def images(daemon: Ketchd) -> set[str]:
    return set(daemon.out("images", "-aq", "--no-trunc").split())


def test_the_platform_that_is_asked_for_runs(ketchd: Ketchd, multi: str, name: str) -> None:
    assert ketchd.out("run", "--rm", multi) == "amd64"
    assert ketchd.out("run", "--name", name, *ARM64, multi) == "arm64"
    listed = ("ps", "-a", "--filter", f"ancestor={multi}", "--format", "{{.Image}} {{.Names}}")
    assert f"{multi} {name}" in ketchd.out(*listed).splitlines()
    image = ketchd.out("inspect", "-f", "{{.Image}}", name)
    assert image != ketchd.out("image", "inspect", "-f", "{{.Id}}", multi)
    assert arch(ketchd, image) == "arm64"
    shape = "{{.ImageManifestDescriptor.Platform.Architecture}}"
    assert ketchd.out("inspect", "-f", shape, name) == "arm64"
    client = docker.APIClient(base_url=f"unix://{ketchd.socket}", version="1.48")
    try:
        (row,) = client.containers(all=True, filters={"name": name})
    finally:
        client.close()
    assert row["ImageManifestDescriptor"]["platform"]["architecture"] == "arm64"
    done = ketchd.docker("run", "--pull=never", "--platform", "linux/s390x", multi, code=125)
    assert b"does not provide the specified platform (linux/s390x)" in done.stderr
    used = ketchd.docker("rmi", multi, code=1).stderr.decode()
    assert f"container {ketchd.out('inspect', '-f', '{{.Id}}', name)[:12]} is using" in used
    assert b"platform of multi:1" in ketchd.docker("rmi", "-f", image, code=1).stderr


def test_a_program_of_another_machine(ketchd: Ketchd, tmp_path: Path) -> None:
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(100)
    (tmp_path / "x").write_bytes(header)
    (tmp_path / "x").chmod(0o755)
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY x /\nCMD ["/x"]\n')
    build(ketchd, *ARM64, "-t", "foreign:1", tmp_path)
    done = ketchd.docker("run", "--rm", *ARM64, "foreign:1", code=None)
    ketchd.docker("rmi", "foreign:1")
    if not lacking(platform.parse("linux/arm64")):
        pytest.skip("the machine has an interpreter for arm64")
    assert done.returncode == 125
    assert b"exec format error: no interpreter for linux/arm64 is registered" in done.stderr


def test_looking_at_it(ketchd: Ketchd, multi: str) -> None:
    rows = ketchd.out("images", "--format", "{{.Repository}} {{.Tag}}").splitlines()
    assert rows.count("multi 1") == 1
    tree = ketchd.out("images", "--tree", multi)
    assert "linux/amd64" in tree
    assert "linux/arm64" in tree
    shown = manifests(ketchd, multi)
    kinds = [entry["Kind"] for entry in shown["Manifests"]]
    assert kinds == ["image", "image", "attestation", "attestation"]
    assert all(entry["Available"] for entry in shown["Manifests"])
    assert "index" in shown["Descriptor"]["mediaType"]
    about = {entry["AttestationData"]["For"] for entry in shown["Manifests"][2:]}
    assert about == {entry["ID"] for entry in shown["Manifests"][:2]}
    assert arch(ketchd, multi) == "amd64"
    assert arch(ketchd, multi, *ARM64) == "arm64"
    steps = ("history", "--no-trunc", "--format", "{{.CreatedBy}}")
    assert ketchd.out(*steps, multi) != ketchd.out(*steps, *ARM64, multi)
    ids = {ketchd.out("image", "inspect", *words, "-f", "{{.Id}}", multi) for words in ((), ARM64)}
    assert len(ids) == 2


def test_a_tag_and_a_push_keep_the_index(
    ketchd: Ketchd, multi: str, registry: Registry, tmp_path: Path
) -> None:
    target = f"{registry.address}/kept:1"
    ketchd.docker("tag", multi, target)
    digest = manifests(ketchd, multi)["Descriptor"]["digest"]
    assert f"digest: {digest}" in ketchd.out("push", target)
    found = inspected(f"docker://{target}")["manifests"]
    assert [entry["platform"]["architecture"] for entry in found] == [
        "amd64", "arm64", "unknown", "unknown",
    ]  # fmt: skip
    copied(f"docker://{target}", f"dir:{tmp_path}/copy")
    digests = ketchd.out("image", "inspect", "-f", "{{json .RepoDigests}}", target)
    assert f"{registry.address}/kept@{digest}" in digests
    ketchd.docker("push", *ARM64, target)
    assert inspected(f"docker://{target}")["config"]["digest"] == ketchd.out(
        "image", "inspect", *ARM64, "-f", "{{.Id}}", multi
    )
    ketchd.docker("rmi", target)
    assert ketchd.out("run", "--rm", *ARM64, multi) == "arm64"


def test_pulled_platforms_come_together(
    ketchd: Ketchd, other: Ketchd, multi: str, registry: Registry, tmp_path: Path
) -> None:
    target = f"{registry.address}/pulled:1"
    ketchd.docker("tag", multi, target)
    ketchd.docker("push", target)
    ketchd.docker("rmi", target)
    before = images(other)
    assert other.out("run", "--rm", target) == "amd64"
    assert other.out("run", "--rm", *ARM64, target) == "arm64"
    assert arch(other, target) == "amd64"
    assert "up to date" in other.out("pull", *ARM64, target)
    available = [entry["Available"] for entry in manifests(other, target)["Manifests"]]
    assert available == [True, True, False, False]
    again = f"{registry.address}/again:1"
    other.docker("tag", target, again)
    for said in (other.docker("push", again).stdout, ketch(other, "push", again).stdout):
        assert b"Not all multiplatform-content is present" in said
    config = inspected(f"docker://{again}")["config"]["digest"]
    assert config == other.out("image", "inspect", "-f", "{{.Id}}", again)
    other.docker("rmi", *ARM64, target)
    assert other.docker("image", "inspect", *ARM64, target, code=1)
    assert other.out("run", "--rm", "--pull=never", again) == "amd64"
    other.docker("rmi", target, again)
    assert images(other) == before


def test_saved_and_loaded_whole(ketchd: Ketchd, other: Ketchd, multi: str, tmp_path: Path) -> None:
    before = images(other)
    archive, part = tmp_path / "all.tar", tmp_path / "part.tar"
    ketchd.docker("save", "-o", str(archive), multi)
    ketchd.docker("save", *ARM64, "-o", str(part), multi)
    assert "Loaded image: multi:1" in other.out("load", "-i", str(part))
    assert arch(other, multi) == "arm64"
    other.docker("rmi", multi)
    assert "Loaded image: multi:1" in other.out("load", "-i", str(archive))
    assert manifests(other, multi)["Manifests"] == manifests(ketchd, multi)["Manifests"]
    assert other.out("run", "--rm", *ARM64, multi) == "arm64"
    other.stop(signal.SIGKILL)
    other.start()
    other.docker("image", "prune", "-f")
    assert other.out("run", "--rm", *ARM64, multi) == "arm64"
    assert other.docker("save", multi).stdout == archive.read_bytes()
    other.docker("rmi", "--platform", "linux/amd64", multi)
    assert arch(other, multi) == "arm64"
    other.docker("rmi", multi)
    assert images(other) == before
    assert "Loaded image: multi:1" in other.out("load", *ARM64, "-i", str(archive))
    assert arch(other, multi) == "arm64"
    other.docker("image", "prune", "-af")
    assert images(other) == set()


def test_a_layout_of_skopeo(ketchd: Ketchd, other: Ketchd, multi: str, tmp_path: Path) -> None:
    """What skopeo copies, gzip and all, is loaded as it is."""
    (tmp_path / "ours.tar").write_bytes(ketchd.docker("save", multi).stdout)
    words = ("skopeo", "--insecure-policy", "copy", "--all")
    theirs = f"oci-archive:{tmp_path}/theirs.tar:multi:2"
    subprocess.run([*words, f"oci-archive:{tmp_path}/ours.tar", theirs], check=True)
    index = inspected(theirs)
    other.docker("load", "-i", str(tmp_path / "theirs.tar"))
    shown = manifests(other, "multi:2")["Manifests"]
    assert [e["ID"] for e in shown] == [e["digest"] for e in index["manifests"]]
    assert all(entry["Available"] for entry in shown)
    assert other.out("run", "--rm", *ARM64, "multi:2") == "arm64"
    (tmp_path / "again.tar").write_bytes(other.docker("save", "multi:2").stdout)
    assert json.dumps(inspected(f"oci-archive:{tmp_path}/again.tar")) == json.dumps(index)
    other.docker("rmi", "multi:2")


def test_a_base_image_of_several_platforms(ketchd: Ketchd, multi: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {multi}\nCOPY Dockerfile /d\n")
    out = tmp_path / "tree"
    build(ketchd, *BOTH, "-o", out, tmp_path)
    assert (out / "linux_amd64/arch").read_text() == "amd64\n"
    assert (out / "linux_arm64/arch").read_text() == "arm64\n"
