"""Archives: ours read by others, others' read by us, nobody's believed."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from images.image_rig import Rig, gather, pieces, skopeo, tar, words
from ketch.engine.images.values import ImportOptions
from ketch.errors import DataCorrupt, InvalidParameter, KetchError, NotFound
from ketch.oci import digest, media_types

BASE = tar({"etc/x": b"1" * 5000, "bin/sh": os.urandom(200_000)})
TOP = tar({"app/y": os.urandom(30_000)})


async def saved(rig: Rig, *refs: str) -> bytes:
    return b"".join(await gather(await rig.images.save(refs)))


def members(data: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            if file := archive.extractfile(member):
                found[member.name] = file.read()
    return found


def packed(files: dict[str, bytes]) -> bytes:
    return tar(files)


async def loaded(rig: Rig, data: bytes) -> list[str]:
    lines = await gather(rig.images.load(pieces(data)))
    return [line.stream for line in lines if line.stream]


@pytest.mark.parametrize("kind", ["erofs", "directory"])
async def test_save_and_load(tmp_path: Path, kind: str) -> None:
    rig = Rig(tmp_path / "data", kind)
    image = await rig.make(BASE, TOP, tags=("app:1", "host:5000/app:2"), cmd=["sh"])
    data = await saved(rig, "app:1", "host:5000/app:2")
    files = members(data)
    assert sorted(name for name in files if "/" not in name) == [
        "index.json", "manifest.json", "oci-layout",
    ]  # fmt: skip
    item = json.loads(files["manifest.json"])[0]
    assert item["RepoTags"] == ["app:1", "host:5000/app:2"]
    assert digest.of(files[item["Config"]]) == image.id
    for name, content in files.items():
        if name.startswith("blobs/sha256/"):
            assert digest.of(content) == f"sha256:{name.removeprefix('blobs/sha256/')}"
    other = Rig(tmp_path / "other", kind)
    assert await loaded(other, data) == [
        "Loaded image: app:1\n",
        "Loaded image: host:5000/app:2\n",
    ]
    assert other.images.resolve("app:1").id == image.id
    assert other.snapshots.open_tar(image.layers[1]).read() == TOP
    assert await saved(other, "app:1", "host:5000/app:2") == data


async def test_save_by_id_has_no_name(rig: Rig, tmp_path: Path) -> None:
    image = await rig.make(BASE)
    data = await saved(rig, image.id[7:19])
    assert json.loads(members(data)["manifest.json"])[0]["RepoTags"] is None
    assert await loaded(Rig(tmp_path / "other"), data) == [f"Loaded image ID: {image.id}\n"]
    with pytest.raises(NotFound, match="No such image: nothing:latest"):
        await rig.images.save(("nothing",))


async def test_ours_read_by_skopeo_and_its_archives_by_us(rig: Rig, tmp_path: Path) -> None:
    image = await rig.make(BASE, TOP, tags=("app:1",), cmd=["sh"])
    ours = tmp_path / "ours.tar"
    ours.write_bytes(await saved(rig, "app:1"))
    shown = json.loads(skopeo("inspect", "--config", f"docker-archive:{ours}"))
    assert shown["rootfs"]["diff_ids"] == list(image.layers)
    shown = json.loads(skopeo("inspect", "--config", f"oci-archive:{ours}:1"))
    assert shown["config"]["Cmd"] == ["sh"]
    kinds = {
        "docker-archive": ("docker-archive:{}:app:1", ["Loaded image: app:1\n"]),
        "oci-archive": ("oci-archive:{}:host:5000/app:3", ["Loaded image: host:5000/app:3\n"]),
    }
    for number, (name, (target, said)) in enumerate(kinds.items()):
        theirs = tmp_path / name
        skopeo("copy", f"docker-archive:{ours}", target.format(theirs))
        other = Rig(tmp_path / f"other{number}")
        assert await loaded(other, theirs.read_bytes()) == said
        (record,) = other.images.records()
        assert record.layers == image.layers
        data = await saved(other, record.tags[0])
        (tmp_path / "again.tar").write_bytes(data)
        skopeo("inspect", f"docker-archive:{tmp_path}/again.tar")


async def test_a_compressed_layout_keeps_its_manifest(rig: Rig, tmp_path: Path) -> None:
    await rig.make(BASE, TOP, tags=("app:1",))
    ours, theirs = tmp_path / "ours.tar", tmp_path / "theirs.tar"
    ours.write_bytes(await saved(rig, "app:1"))
    skopeo("copy", f"docker-archive:{ours}", f"oci-archive:{theirs}:app:1")
    manifest = json.loads(skopeo("inspect", "--raw", f"oci-archive:{theirs}:app:1"))
    assert "gzip" in manifest["layers"][0]["mediaType"]
    other = Rig(tmp_path / "other")
    await loaded(other, theirs.read_bytes())
    for layer in manifest["layers"]:
        assert other.content.has(layer["digest"])
    files = members(await saved(other, "app:1"))
    assert f"blobs/sha256/{manifest['layers'][0]['digest'][7:]}" in files


def old_form(**changes: Any) -> dict[str, bytes]:
    """The archive of Docker up to 24."""
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest.of(BASE), digest.of(TOP)]},
        }
    ).encode()
    name = f"{digest.of(config)[7:]}.json"
    item = {"Config": name, "RepoTags": ["old:1"], "Layers": ["a/layer.tar", "b/layer.tar"]}
    return {
        "a/VERSION": b"1.0",
        "a/json": b'{"id":"a"}',
        "a/layer.tar": BASE,
        "b/layer.tar": TOP,
        name: config,
        "manifest.json": json.dumps([item | changes]).encode(),
        "repositories": b'{"old":{"1":"b"}}',
    }


async def test_the_old_form(rig: Rig) -> None:
    assert await loaded(rig, packed(old_form())) == ["Loaded image: old:1\n"]
    assert rig.images.resolve("old:1").layers == (digest.of(BASE), digest.of(TOP))


async def test_the_old_form_with_a_linked_layer(rig: Rig) -> None:
    files = old_form()
    config = json.loads(next(v for k, v in files.items() if k.endswith(".json") and "/" not in k))
    config["rootfs"]["diff_ids"][1] = digest.of(BASE)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        link = tarfile.TarInfo("b/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../a/layer.tar"
        archive.addfile(link)
        item = [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["a/layer.tar", "b/layer.tar"]}]
        documents = {"c.json": json.dumps(config), "manifest.json": json.dumps(item)}
        plain = {"a/layer.tar": BASE} | {k: v.encode() for k, v in documents.items()}
        for name, data in plain.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    assert await loaded(rig, out.getvalue()) == ["Loaded image: x:1\n"]
    assert rig.images.resolve("x:1").layers == (digest.of(BASE), digest.of(BASE))


def compressed(tool: str, data: bytes) -> bytes:
    return subprocess.run([tool, "-c"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("tool", ["gzip", "xz", "zstd", "bzip2"])
async def test_compressed_archives(rig: Rig, tool: str) -> None:
    assert await loaded(rig, compressed(tool, packed(old_form()))) == ["Loaded image: old:1\n"]


def swapped() -> dict[str, bytes]:
    files = old_form()
    files["a/layer.tar"], files["b/layer.tar"] = TOP, BASE
    return files


def layout(**changes: Any) -> dict[str, bytes]:
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [digest.of(BASE)]}}).encode()
    layer = gzip.compress(BASE)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": described(config, media_types.OCI_CONFIG),
            "layers": [described(layer, media_types.OCI_LAYER_GZIP)],
        }
    ).encode()
    index = {"schemaVersion": 2, "manifests": [described(manifest, media_types.OCI_MANIFEST)]}
    blobs = {f"blobs/sha256/{digest.of(d)[7:]}": d for d in (config, layer, manifest)}
    return {"index.json": json.dumps(index | changes).encode(), "oci-layout": b"{}", **blobs}


def described(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest.of(data), "size": len(data)}


async def test_an_unnamed_layout(rig: Rig) -> None:
    (line,) = await loaded(rig, packed(layout()))
    assert line.startswith("Loaded image ID: sha256:")


def damaged_blob() -> dict[str, bytes]:
    files = layout()
    name = next(k for k, v in files.items() if v.startswith(b"\x1f\x8b"))
    files[name] = gzip.compress(TOP)
    return files


def damaged_document() -> dict[str, bytes]:
    files = layout()
    name = next(k for k, v in files.items() if b"diff_ids" in v)
    files[name] = files[name].replace(b"rootfs", b"rooots")
    return files


@pytest.mark.parametrize(
    "files",
    [
        {"readme": b"nothing of an image"},
        {"manifest.json": b"[{]"},
        {"manifest.json": b'[{"Config":"c","Config":"d"}]'},
        {"manifest.json": b"null"},
        {"repositories": b"{}"},
        old_form(Config="../../etc/passwd"),
        old_form(Config="none.json"),
        old_form(Layers=["a/layer.tar"]),
        old_form(Layers=["a/layer.tar", "c/layer.tar"]),
        old_form(Layers=["b/layer.tar", "a/layer.tar"]),
        old_form(RepoTags=["BAD NAME"]),
        swapped(),
        damaged_blob(),
        damaged_document(),
        layout(manifests=None),
        layout(layers=[]),
        {k: v for k, v in layout().items() if not v.startswith(b"\x1f\x8b")},
        {"blobs/sha256/" + "0" * 64: BASE, **old_form()},
    ],
)
async def test_bad_archives_leave_nothing(rig: Rig, files: dict[str, bytes]) -> None:
    with pytest.raises((DataCorrupt, InvalidParameter)):
        await loaded(rig, packed(files))
    assert rig.images.records() == []
    assert rig.stored() == set()


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x1f\x8b\x08garbage", b"\0" * 10240])
async def test_no_archives(rig: Rig, data: bytes) -> None:
    with pytest.raises(KetchError):
        await loaded(rig, data)
    assert rig.stored() == set()


async def test_an_archive_that_breaks_off(rig: Rig) -> None:
    data = packed(old_form())
    for cut in (100, 5000, 150_000, len(data) - 12_000):
        with pytest.raises(KetchError):
            await loaded(rig, data[:cut])
        assert rig.stored() == set()


async def test_a_member_twice(rig: Rig) -> None:
    data = packed({"manifest.json": b"[]"})
    with pytest.raises(InvalidParameter, match="twice"):
        await loaded(rig, data[:1024] + data)


async def test_a_client_that_leaves(rig: Rig) -> None:
    async def broken() -> Any:
        yield packed(old_form())[:50_000]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await gather(rig.images.load(broken()))
    assert rig.stored() == set()


async def test_import(rig: Rig) -> None:
    options = ImportOptions(
        reference="mine:1", message="from a friend", changes=('CMD ["sh"]', "ENV A=b", "WORKDIR /x")
    )
    lines = await gather(rig.images.import_(pieces(gzip.compress(BASE)), options))
    image = rig.images.resolve("mine:1")
    assert words(lines) == [image.id]
    config = rig.images.config(image.id)
    assert (config.run.cmd, config.run.env, config.run.working_dir) == (["sh"], ["A=b"], "/x")
    assert config.os == "linux"
    (line,) = await rig.images.history("mine:1")
    assert (line.comment, line.size) == ("from a friend", 205_000)


@pytest.mark.parametrize(
    ("options", "data"),
    [
        (ImportOptions(reference="BAD"), BASE),
        (ImportOptions(changes=("RUN x",)), BASE),
        (ImportOptions(changes=("NONSENSE",)), BASE),
        (ImportOptions(changes=("",)), BASE),
        (ImportOptions(platform="a b"), BASE),
        (ImportOptions(), b"no tar" * 1000),
    ],
)
async def test_bad_imports(rig: Rig, options: ImportOptions, data: bytes) -> None:
    with pytest.raises(KetchError):
        await gather(rig.images.import_(pieces(data), options))
    assert rig.images.records() == []
