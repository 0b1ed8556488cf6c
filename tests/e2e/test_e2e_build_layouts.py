"""OCI layouts in directories of the client: caches, outputs, named contexts; both ways in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildkit import content_store
from buildkit.buildx import Buildx, Outcome
from e2e.conftest import another
from e2e.ketchd_process import Ketchd
from e2e.test_e2e_build_outputs import build, copied, inspected
from ketch.buildkit.messages import control

pytestmark = pytest.mark.root
TEXT = """FROM busybox AS first
RUN cat /proc/sys/kernel/random/uuid > /first
FROM busybox
ENV A=b
COPY --from=first /first /first
RUN cat /proc/sys/kernel/random/uuid > /second
"""
ON_IT = "FROM base\nCOPY --from=again /second /third\nRUN test $A = b && cmp /second /third\n"


@pytest.fixture(scope="module")
def other(ketchd: Ketchd) -> Iterator[Ketchd]:
    """Another engine with the same busybox and an empty cache."""
    with another(ketchd) as daemon:
        yield daemon


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "context"
    place.mkdir()
    (place / "Dockerfile").write_text(TEXT)
    return place


def caches(**wanted: dict[str, str]) -> control.CacheOptions:
    listed = {key: [control.Attributes(Type="local", Attrs=a)] for key, a in wanted.items()}
    return control.CacheOptions(**listed)


async def asked(
    daemon: Ketchd,
    folder: Path,
    stores: dict[str, Path],
    attrs: dict[str, str] | None = None,
    **fields: Any,
) -> Outcome:
    """A build as buildx asks for it, with content stores."""
    client = Buildx(str(daemon.socket))
    client.directories = {"context": folder, "dockerfile": folder}
    client.stores = stores
    async with client.connected():
        return await client.build(attrs or {}, **fields)


async def test_a_cache_as_buildx_keeps_it(
    ketchd: Ketchd, other: Ketchd, folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "cache"
    other.docker("builder", "prune", "-af")  # it has nothing of its own
    stores = {f"local:{place}": place}
    target = {"dest": str(place), "mode": "max"}
    first = await asked(ketchd, folder, stores, {"no-cache": ""}, Cache=caches(Exports=target))
    content_store.put(place, json.loads(first.response["cache.manifest"]), "latest")
    again = await asked(ketchd, folder, stores, Cache=caches(Exports=target))  # all is there
    assert again.response["cache.manifest"] == first.response["cache.manifest"]
    source = {"src": str(place), "digest": content_store.root(place)}
    second = await asked(other, folder, stores, Cache=caches(Imports=source))
    assert len([name for name in second.cached() if " RUN " in name]) == 2
    key = "containerimage.config.digest"
    assert second.response[key] == first.response[key]
    by_ketch = build(other, "-q", "--cache-from", f"type=local,src={place}", folder)
    assert by_ketch.stdout.decode().strip() == first.response[key]


async def test_a_cache_that_is_damaged_is_done_without(
    other: Ketchd, folder: Path, tmp_path: Path, ketchd: Ketchd
) -> None:
    place = tmp_path / "cache"
    build(ketchd, "--cache-to", f"type=local,dest={place},mode=max", folder)
    root = content_store.root(place)
    manifest = json.loads((place / "blobs" / root.replace(":", "/")).read_text())
    stores = {f"local:{place}": place}
    source = {"src": str(place), "digest": root}
    config = place / "blobs" / manifest["config"]["digest"].replace(":", "/")
    config.write_bytes(bytes(len(config.read_bytes())))
    told = await asked(other, folder, stores, {"no-cache": ""}, Cache=caches(Imports=source))
    assert told.response
    missing = await asked(other, folder, {}, Cache=caches(Imports=source))
    assert missing.response
    refused = await asked(ketchd, folder, {}, Cache=caches(Exports={"dest": str(place)}))
    assert f"serves no content store, but the build needs local:{place}" in refused.error


@pytest.mark.parametrize("kind", ["oci", "docker"])
async def test_an_output_becomes_a_context(
    ketchd: Ketchd, other: Ketchd, folder: Path, tmp_path: Path, kind: str
) -> None:
    """By buildx' calls into a directory, from there into another engine."""
    place = tmp_path / "layout"
    exporter = [(kind, {"tar": "false", "name": "docker.io/library/made:1"})]
    made = await asked(ketchd, folder, {"export": place}, exporters=exporter)
    content_store.put(place, content_store.described(made.response), "latest")
    if kind == "oci":  # skopeo reads no Docker media types there
        copied(f"oci:{place}:latest", f"oci:{tmp_path / 'checked'}:x")
    (folder / "Dockerfile").write_text(ON_IT)
    value = f"oci-layout://abc:latest@{content_store.root(place)}"
    attrs = {"context:base": value, "context:again": value}
    used = await asked(other, folder, {"oci:abc": place}, attrs)
    assert used.response
    lone = await asked(other, folder, {}, attrs)
    assert "serves no content store" in lone.error
    text = (folder / "Dockerfile").read_text()
    (folder / "Dockerfile").write_text("FROM base\n")
    copy = await asked(other, folder, {"oci:abc": place}, attrs)
    key = "containerimage.config.digest"
    assert copy.response[key] == made.response[key]
    (folder / "Dockerfile").write_text(text)
    wrong = {**attrs, "context:base": "oci-layout://abc:latest"}
    untold = await asked(other, folder, {"oci:abc": place}, wrong)
    assert "has to be named with a digest" in untold.error


def test_an_output_becomes_a_context_of_ketch_build(
    ketchd: Ketchd, other: Ketchd, folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "layout"
    build(ketchd, "-t", "one:1", "-o", f"type=oci,tar=false,dest={place}", folder)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    words = ("--platform", "linux/arm64", "-t", "one:2")
    build(ketchd, *words, "-o", f"type=oci,tar=false,dest={place}", folder)
    names = {one["annotations"]["org.opencontainers.image.ref.name"] for one in index(place)}
    assert names == {"1", "2"}  # the second output left the first one's name
    (folder / "Dockerfile").write_text(ON_IT)
    words = ("--build-context", f"base=oci-layout://{place}:1")
    done = build(other, *words, "--build-context", f"again=oci-layout://{place}:1", folder)
    assert done.returncode == 0
    failed = build(other, *words, folder, code=None)
    assert "again" in failed.stderr.decode()
    missing = build(other, "--build-context", f"base=oci-layout://{place}:9", folder, code=None)
    assert "has nothing with the tag '9'" in missing.stderr.decode()
    nothing = build(other, "--build-context", f"base=oci-layout://{folder}", folder, code=None)
    assert "is no OCI layout" in nothing.stderr.decode()
    other_platform = (*words[:1], f"base=oci-layout://{place}:2")
    (folder / "Dockerfile").write_text("FROM base\nRUN true\n")
    assert build(other, *other_platform, folder, code=None).returncode
    for blob in (place / "blobs/sha256").iterdir():
        blob.write_bytes(b"x" * blob.stat().st_size)
    damaged = build(other, *words, folder, code=None)
    assert "does not have its digest" in damaged.stderr.decode()


def index(folder: Path) -> list[Any]:
    found: list[Any] = json.loads((folder / "index.json").read_text())["manifests"]
    return found


def test_a_directory_holds_caches_by_tag(ketchd: Ketchd, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "cache"
    for tag in ("a", "b"):
        (folder / "Dockerfile").write_text(f"{TEXT}RUN echo {tag} > /{tag}\n")
        build(ketchd, "--cache-to", f"type=local,dest={place},tag={tag},mode=max", folder)
    assert len(index(place)) == 2
    with_both = {blob.name for blob in (place / "blobs/sha256").iterdir()}
    (folder / "Dockerfile").write_text("FROM busybox\nRUN echo c > /c\n")
    target = f"type=local,dest={place},tag=a,mode=max,reset=true"
    build(ketchd, "--cache-to", target, folder)
    assert len(index(place)) == 2
    left = {blob.name for blob in (place / "blobs/sha256").iterdir()}
    assert with_both - left  # what only the old cache needed
    inspected(f"oci:{place}:b")
    roots = [one["digest"][7:] for one in index(place)]
    for root in roots:
        manifest = json.loads((place / "blobs/sha256" / root).read_text())
        needed = [manifest["config"], *manifest["layers"]]
        assert {part["digest"][7:] for part in needed} <= left
