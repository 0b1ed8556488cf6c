"""Outputs of builds: archives, directories, registries; by ``ketch build`` and as buildx asks."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildkit.buildx import Buildx
from e2e.ketch_program import ketch
from e2e.ketchd_process import Ketchd
from e2e.registry_process import Registry
from ketch.buildkit.messages import control

pytestmark = pytest.mark.root
TEXT = "FROM busybox\nRUN mkdir /d && echo out > /d/a && ln -s a /d/b && ln /d/a /d/c\nLABEL x=y\n"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("outputs") / "r") as registry:
        yield registry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "context"
    place.mkdir()
    (place / "Dockerfile").write_text(TEXT)
    return place


def build(
    daemon: Ketchd, *words: object, code: int | None = 0
) -> subprocess.CompletedProcess[bytes]:
    return ketch(daemon, "build", *map(str, words), code=code)


def inspected(where: str) -> Any:
    """What skopeo, which is nobody's friend, reads there."""
    words = ["skopeo", "--insecure-policy", "inspect", "--raw", "--tls-verify=false", where]
    return json.loads(subprocess.run(words, check=True, capture_output=True).stdout)


def copied(source: str, target: str) -> None:
    """skopeo checks every digest on the way."""
    words = ["skopeo", "--insecure-policy", "copy", "--all", "--src-tls-verify=false", source]
    subprocess.run([*words, target], check=True, capture_output=True)


def test_tar_and_directory(ketchd: Ketchd, folder: Path, tmp_path: Path) -> None:
    target, out = tmp_path / "out.tar", tmp_path / "tree"
    build(ketchd, "-o", f"type=tar,dest={target}", "-o", out, folder)
    with tarfile.open(target) as archive:
        assert {"d/a", "d/b", "d/c", "bin"} <= {name.strip("/") for name in archive.getnames()}
    assert (out / "d/a").read_text() == "out\n"
    assert os.readlink(out / "d/b") == "a"
    assert os.stat(out / "d/a").st_ino == os.stat(out / "d/c").st_ino
    shown = build(ketchd, "-o", "-", folder).stdout
    with tarfile.open(fileobj=io.BytesIO(shown)) as archive:
        member = archive.extractfile("d/a")
        assert member is not None
        assert member.read() == b"out\n"


def test_oci_layout_is_read_by_skopeo(ketchd: Ketchd, folder: Path, tmp_path: Path) -> None:
    target, place, meta = tmp_path / "oci.tar", tmp_path / "layout", tmp_path / "meta.json"
    iid = tmp_path / "iid"
    words = ("-t", "out/put:3", "--annotation", "org.example.a=b", "--metadata-file", meta)
    build(ketchd, *words, "--iidfile", iid, "-o", f"type=oci,dest={target}", folder)
    manifest = inspected(f"oci-archive:{target}")
    assert manifest["annotations"] == {"org.example.a": "b"}
    copied(f"oci-archive:{target}", f"dir:{tmp_path}/copy")
    assert json.loads(meta.read_text())["containerimage.descriptor"]["size"] > 0
    assert manifest["config"]["digest"] == iid.read_text()
    build(
        ketchd,
        "-o",
        f"type=oci,tar=false,compression=zstd,force-compression=true,dest={place}",
        folder,
    )
    assert json.loads((place / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    kinds = {layer["mediaType"] for layer in inspected(f"oci:{place}")["layers"]}
    assert kinds == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    copied(f"oci:{place}", f"dir:{tmp_path}/copy2")


def test_annotations_of_an_index(ketchd: Ketchd, folder: Path, tmp_path: Path) -> None:
    """One of the descriptor alone had nowhere to stand, and was dropped without a word."""
    meta, output = tmp_path / "meta.json", f"type=oci,dest={tmp_path}/oci.tar"
    alone = ("--annotation", "index-descriptor:org.example.a=b", "-o", output)
    refused = build(ketchd, *alone, folder, code=1)
    assert b"index-descriptor" in refused.stderr
    build(ketchd, "--annotation", "index:org.example.i=j", *alone, "--metadata-file", meta, folder)
    told = json.loads(meta.read_text())["containerimage.descriptor"]
    assert told["annotations"] == {"org.example.a": "b"}
    with tarfile.open(tmp_path / "oci.tar") as archive:
        member = archive.extractfile("index.json")
        assert member is not None
        (entry,) = json.load(member)["manifests"]
    assert entry["annotations"]["org.example.a"] == "b"


def test_docker_archive_is_loaded(ketchd: Ketchd, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "docker.tar"
    build(ketchd, "-t", "loaded:1", "-o", f"type=docker,dest={target}", folder)
    assert ketchd.docker("image", "inspect", "loaded:1", code=None).returncode
    copied(f"docker-archive:{target}", f"dir:{tmp_path}/copy")
    ketchd.out("load", "-i", str(target))
    assert ketchd.out("run", "--rm", "loaded:1", "cat", "/d/a") == "out"
    ketchd.docker("rmi", "loaded:1")


def test_push(ketchd: Ketchd, folder: Path, registry: Registry, tmp_path: Path) -> None:
    name, meta = f"{registry.address}/a/b:1", tmp_path / "meta.json"
    build(ketchd, "--push", "-t", name, "--metadata-file", meta, folder)
    told = json.loads(meta.read_text())
    assert told["image.name"] == name
    copied(f"docker://{name}", f"dir:{tmp_path}/copy")
    by_digest = f"docker://{registry.address}/a/b@{told['containerimage.digest']}"
    config = inspected(by_digest)["config"]["digest"]
    assert config == told["containerimage.config.digest"]
    other = f"{registry.address}/a/c:1"
    build(ketchd, "-o", f"type=image,name={other},push=true,compression=uncompressed", folder)
    assert ketchd.out("image", "inspect", "-f", "{{.Id}}", other) == config
    assert inspected(f"docker://{other}")["layers"][-1]["mediaType"].endswith("v1.tar")
    ketchd.docker("rmi", other)


def test_a_later_push_has_the_form_that_was_built(
    ketchd: Ketchd, folder: Path, registry: Registry
) -> None:
    name = f"{registry.address}/a/later:1"
    (folder / "Dockerfile").write_text(TEXT + "LABEL later=1\n")
    words = ("--annotation", "org.example.a=b", "-o", "type=image,compression=zstd")
    build(ketchd, *words, "-t", name, folder)
    ketchd.out("push", name)
    manifest = inspected(f"docker://{name}")
    assert manifest["annotations"] == {"org.example.a": "b"}
    assert manifest["layers"][-1]["mediaType"].endswith("zstd")
    ketchd.docker("rmi", name)


def test_names_by_digest(ketchd: Ketchd, folder: Path, registry: Registry, tmp_path: Path) -> None:
    """As runners of several platforms push: no tag there, the digest for who joins them."""
    name, meta = f"{registry.address}/by/digest", tmp_path / "meta.json"
    (folder / "Dockerfile").write_text(TEXT + "LABEL by=digest\n")
    words = f"type=image,name={name},push-by-digest=true,name-canonical=true"
    build(ketchd, "-o", words, folder)  # not pushed: nobody said so
    build(ketchd, "-o", f"{words},push=true", "--metadata-file", meta, folder)
    exact = f"{name}@{json.loads(meta.read_text())['containerimage.digest']}"
    assert inspected(f"docker://{exact}")["layers"]
    listed = ["skopeo", "list-tags", "--tls-verify=false", f"docker://{name}"]
    tags = subprocess.run(listed, check=False, capture_output=True)
    assert b"latest" not in tags.stdout
    words = "type=image,dangling-name-prefix=dangling,oci-mediatypes=false,compression=zstd"
    told = build(ketchd, "-o", words, "--metadata-file", meta, folder).stderr
    assert b"oci-mediatypes=false has no effect with zstd" in told
    dangling = json.loads(meta.read_text())["image.name"]
    assert dangling.startswith("docker.io/library/dangling@sha256:")
    for each in (exact, dangling):
        assert ketchd.out("image", "inspect", "-f", "{{.Config.Labels.by}}", each) == "digest"
    ketchd.docker("rmi", "-f", ketchd.out("image", "inspect", "-f", "{{.Id}}", exact))


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("type=bogus", "output type 'bogus' is not supported"),
        ("type=image,bogus=1", "attribute 'bogus' of the output type 'image' is not supported"),
        ("type=oci,dest=x,compression=lzma", "compression 'lzma' is not supported"),
        ("type=image,push=maybe", "push='maybe' is not true or false"),
        ("type=image,push=true", "tag is needed when pushing to registry"),
        ("type=local", "dest is required for local output"),
        ("type=tar,dest=x", "local and tar exporters are incompatible with image ID file"),
        ("type=oci,dest=x,compression=gzip,compression-level=12", "gzip has levels 0 to 9"),
        ("type=local,dest=/etc/passwd", "destination directory /etc/passwd is a file"),
        ("type=oci,dest=/etc", "destination file /etc is a directory"),
        ("", "invalid output ''"),
        ("type=image,name=UPPER:1", "must be lowercase"),
        ("type=image,dangling-name-prefix=a:1", "it is a name without a tag"),
    ],
)
def test_what_is_refused(ketchd: Ketchd, folder: Path, output: str, said: str) -> None:
    done = build(ketchd, "--iidfile", "x", "-o", output, folder, code=None)
    assert done.returncode
    assert said in done.stderr.decode()
    assert b"RUN" not in done.stderr  # nobody waits for a build to be told of it


def test_a_failing_build_leaves_no_output(ketchd: Ketchd, folder: Path, tmp_path: Path) -> None:
    (folder / "Dockerfile").write_text("FROM busybox\nRUN exit 4\n")
    target = tmp_path / "out.tar"
    assert build(ketchd, "-o", f"type=tar,dest={target}", folder, code=None).returncode == 4
    assert not target.exists()


def test_an_output_that_cannot_be_written(ketchd: Ketchd, folder: Path) -> None:
    done = build(ketchd, "-o", "type=tar,dest=/proc/nowhere/x", folder, code=None)
    assert done.returncode
    assert "/proc/nowhere/x" in done.stderr.decode()


async def test_a_client_that_takes_no_layouts_is_told_so(ketchd: Ketchd, folder: Path) -> None:
    client = Buildx(str(ketchd.socket))
    client.directories = {"context": folder, "dockerfile": folder}
    local = [control.Attributes(Type="local", Attrs={"dest": "/x"})]
    async with client.connected():
        layout = await client.build({}, exporters=[("oci", {"tar": "false"})])
        cache = await client.build({}, Cache=control.CacheOptions(Exports=local))
    assert "serves no content store, but the build needs export" in layout.error
    assert "serves no content store, but the build needs local:/x" in cache.error


async def test_as_buildx_asks(ketchd: Ketchd, folder: Path, tmp_path: Path) -> None:
    client = Buildx(str(ketchd.socket))
    client.directories = {"context": folder, "dockerfile": folder}
    client.outputs = {0: tmp_path / "a.tar", 1: tmp_path / "tree", 2: tmp_path / "oci.tar"}
    client.outputs[1].mkdir()
    kinds: list[tuple[str, dict[str, str]]] = [
        ("tar", {}), ("local", {}), ("oci", {"name": "docker.io/library/o:1"})
    ]  # fmt: skip
    async with client.connected():
        outcome = await client.build({}, exporters=kinds)
    assert outcome.response["containerimage.descriptor"]
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert "d/a" in archive.getnames()
    assert (tmp_path / "tree/d/c").read_text() == "out\n"
    assert os.readlink(tmp_path / "tree/d/b") == "a"
    assert "exporting to client directory" in outcome.names()
    copied(f"oci-archive:{tmp_path}/oci.tar", f"dir:{tmp_path}/copy")
