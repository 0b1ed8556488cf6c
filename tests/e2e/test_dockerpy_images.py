"""docker-py: images, builds, registries."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from e2e.ketchd_process import Ketchd, busybox_tar
from e2e.registry_process import Registry

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def api(ketchd: Ketchd) -> Iterator[docker.APIClient]:
    found = docker.APIClient(base_url=f"unix://{ketchd.socket}", version="auto", timeout=60)
    yield found
    found.close()


@pytest.fixture
def tag(api: docker.APIClient, name: str) -> Iterator[str]:
    """A name for an image that is gone afterwards."""
    chosen = name.lower()
    yield chosen
    for image in api.images(chosen):
        for found in image["RepoTags"]:
            api.remove_image(found, force=True)


def build(api: docker.APIClient, **options: object) -> list[dict[str, object]]:
    lines = list(api.build(decode=True, rm=True, **options))
    assert not [line for line in lines if "error" in line], lines
    return lines


def run(api: docker.APIClient, image: str, *command: str) -> bytes:
    identity = api.create_container(image, list(command) or None)["Id"]
    api.start(identity)
    api.wait(identity)
    output = bytes(api.logs(identity))
    api.remove_container(identity)
    return output


def test_images(api: docker.APIClient, tag: str) -> None:
    assert api.tag("busybox", tag, "v1") is True
    listed = api.images(tag)
    assert [image["RepoTags"] for image in listed] == [[f"{tag}:v1"]]
    assert api.images(tag, quiet=True) == [listed[0]["Id"]]
    assert api.images(filters={"reference": f"{tag}:*"})[0]["Id"] == listed[0]["Id"]
    found = api.inspect_image(f"{tag}:v1")
    assert found["Id"] == listed[0]["Id"]
    assert found["Os"] == "linux"
    assert api.history(f"{tag}:v1")[0]["Id"] == found["Id"]
    assert api.remove_image(f"{tag}:v1") == [{"Untagged": f"{tag}:v1"}]
    with pytest.raises(docker.errors.ImageNotFound):
        api.inspect_image(f"{tag}:v1")
    with pytest.raises(docker.errors.APIError):
        api.create_container(f"{tag}:v1", "true")


def test_save_and_load(api: docker.APIClient, tag: str) -> None:
    api.tag("busybox", tag, "v1")
    saved = b"".join(api.get_image(f"{tag}:v1"))
    with tarfile.open(fileobj=io.BytesIO(saved)) as tar:
        assert "manifest.json" in tar.getnames()
    api.remove_image(f"{tag}:v1")
    said = "".join(line.get("stream", "") for line in api.load_image(saved))
    assert f"Loaded image: {tag}:v1" in said
    assert run(api, f"{tag}:v1", "echo", "loaded") == b"loaded\n"


def test_imports(api: docker.APIClient, tag: str, tmp_path: Path) -> None:
    file = tmp_path / "root.tar"
    file.write_bytes(busybox_tar())
    said = api.import_image_from_file(
        str(file), repository=tag, tag="file", changes=["CMD echo cmd"]
    )
    assert "sha256:" in said
    assert run(api, f"{tag}:file", "/bin/echo", "x") == b"x\n"
    api.import_image_from_data(file.read_bytes(), repository=tag, tag="data")
    api.import_image_from_stream(iter([file.read_bytes()]), repository=tag, tag="stream")
    names = {name for image in api.images(tag) for name in image["RepoTags"]}
    assert names == {f"{tag}:file", f"{tag}:data", f"{tag}:stream"}


def test_build_from_a_file(api: docker.APIClient, tag: str) -> None:
    dockerfile = io.BytesIO(b"FROM busybox\nARG who\nRUN echo hello $who >/hello\nCMD cat /hello\n")
    build(api, fileobj=dockerfile, tag=f"{tag}:1", buildargs={"who": "you"}, labels={"l": "m"})
    assert run(api, f"{tag}:1") == b"hello you\n"
    assert api.inspect_image(f"{tag}:1")["Config"]["Labels"] == {"l": "m"}


def test_build_from_a_directory(api: docker.APIClient, tag: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile.x").write_text(
        "FROM busybox AS one\nCOPY . /all\nRUN ls /all >/list\n"
        "FROM busybox AS two\nCOPY --from=one /list /\nCMD cat /list\n"
        "FROM busybox\nCMD echo third\n"
    )
    (tmp_path / "kept").touch()
    (tmp_path / "left-out").touch()
    (tmp_path / ".dockerignore").write_text("left-*\n")
    lines = build(
        api, path=str(tmp_path), dockerfile="Dockerfile.x", tag=f"{tag}:2", target="two",
        nocache=True, forcerm=True, shmsize=1 << 20, extra_hosts={"there": "192.0.2.1"},
    )  # fmt: skip
    assert any("Successfully tagged" in str(line.get("stream")) for line in lines)
    assert run(api, f"{tag}:2").split() == [b"Dockerfile.x", b"kept"]


def test_build_of_a_context(api: docker.APIClient, tag: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in (("Dockerfile", b"FROM scratch\nCOPY f /f\n"), ("f", b"1")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    out.seek(0)
    build(api, fileobj=out, custom_context=True, encoding="gzip", tag=f"{tag}:3")
    assert len(api.inspect_image(f"{tag}:3")["RootFS"]["Layers"]) == 1


def test_builds_that_fail(ketchd: Ketchd, api: docker.APIClient) -> None:
    lines = list(api.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 3\n"), decode=True))
    assert lines[-1]["errorDetail"]["code"] == 3
    assert "returned a non-zero code: 3" in lines[-1]["error"]
    with pytest.raises(docker.errors.APIError) as caught:
        list(api.build(fileobj=io.BytesIO(b"BOGUS\n"), decode=True))
    assert caught.value.status_code == 400
    client = docker.DockerClient(base_url=f"unix://{ketchd.socket}")
    with pytest.raises(docker.errors.BuildError):
        client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN false\n"))
    client.close()


def test_prunes(api: docker.APIClient) -> None:
    build(api, fileobj=io.BytesIO(b"FROM busybox\nLABEL pruned=yes\n"))
    dangling = api.images(filters={"dangling": True, "label": "pruned=yes"})
    assert len(dangling) == 1
    pruned = api.prune_images(filters={"dangling": True, "label": "pruned=yes"})
    assert {"Deleted": dangling[0]["Id"]} in pruned["ImagesDeleted"]
    assert "SpaceReclaimed" in api.prune_builds()


def test_a_registry(api: docker.APIClient, tag: str, tmp_path: Path) -> None:
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry")
    with Registry(tmp_path / "registry") as registry:
        remote = f"{registry.address}/{tag}"
        api.tag("busybox", remote, "v1")
        pushed = list(api.push(remote, tag="v1", stream=True, decode=True))
        assert not [line for line in pushed if "error" in line]
        digest = next(line["aux"]["Digest"] for line in pushed if "aux" in line)
        api.remove_image(f"{remote}:v1")
        pulled = list(api.pull(remote, tag="v1", stream=True, decode=True))
        assert any(digest in str(line.get("status")) for line in pulled)
        assert run(api, f"{remote}:v1", "echo", "pulled") == b"pulled\n"
        api.remove_image(f"{remote}:v1")
        with pytest.raises(docker.errors.APIError):
            api.pull(remote, tag="no-such")
