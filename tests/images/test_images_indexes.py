"""Indexes in archives that nobody vouches for, and what of them is kept."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from images.image_rig import Rig, gather, pieces, tar
from ketch.errors import DataCorrupt, InvalidParameter, KetchError, NotFound
from ketch.oci import digest, media_types

NAME = {"io.containerd.image.name": "docker.io/library/multi:1"}
IN_TOTO = "application/vnd.in-toto+json"


class Layout:
    """An OCI layout in the making."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(self, data: bytes, kind: str, **more: Any) -> dict[str, Any]:
        name = digest.of(data)
        self.files[f"blobs/sha256/{name[7:]}"] = data
        return {"mediaType": kind, "digest": name, "size": len(data), **more}

    def document(self, kind: str, **members: Any) -> dict[str, Any]:
        data = json.dumps({"schemaVersion": 2, "mediaType": kind, **members}).encode()
        return self.blob(data, kind)

    def image(self, architecture: str) -> dict[str, Any]:
        layer = self.blob(tar({"arch": architecture.encode() * 400}), media_types.OCI_LAYER)
        rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
        config = {"architecture": architecture, "os": "linux", "rootfs": rootfs}
        described = self.blob(json.dumps(config).encode(), media_types.OCI_CONFIG)
        found = self.document(media_types.OCI_MANIFEST, config=described, layers=[layer])
        return {**found, "platform": {"os": "linux", "architecture": architecture}}

    def attestation(self, about: dict[str, Any], data: bytes) -> dict[str, Any]:
        layer = self.blob(data, IN_TOTO)
        config = self.blob(b"{}", media_types.OCI_CONFIG)
        found = self.document(media_types.OCI_MANIFEST, config=config, layers=[layer])
        annotations = {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": about["digest"],
        }
        unknown = {"os": "unknown", "architecture": "unknown"}
        return {**found, "annotations": annotations, "platform": unknown}

    def index(self, *entries: dict[str, Any]) -> dict[str, Any]:
        return self.document(media_types.OCI_INDEX, manifests=list(entries))

    def packed(self, top: dict[str, Any]) -> bytes:
        index = {"schemaVersion": 2, "manifests": [{**top, "annotations": NAME}]}
        return tar({**self.files, "index.json": json.dumps(index).encode()})


async def load(rig: Rig, data: bytes, platform: str = "") -> None:
    await gather(rig.images.load(pieces(data), platform))


async def available(rig: Rig) -> list[bool]:
    details = await rig.images.inspect("multi:1")
    assert details.manifests is not None
    return [entry.available for entry in details.manifests.entries]


async def saved(rig: Rig, ref: str = "multi:1") -> bytes:
    return b"".join(await gather(await rig.images.save((ref,))))


async def test_an_index_with_attestations_comes_back(rig: Rig, tmp_path: Path) -> None:
    """One attestation is longer than what is kept in memory of an archive."""
    layout = Layout()
    one, two = layout.image("amd64"), layout.image("arm64")
    said = [layout.attestation(one, b"{}"), layout.attestation(two, b"[" + b"1," * 5_000_000)]
    top = layout.index(one, two, *said)
    await load(rig, layout.packed(top))
    assert await available(rig) == [True] * 4
    stored = rig.stored()
    await rig.images.collect_garbage()
    assert rig.stored() == stored
    other = Rig(tmp_path / "other")
    await load(other, await saved(rig))
    assert await available(other) == [True] * 4
    assert other.stored() == stored
    assert other.images.resolve("multi:1", "linux/arm64").layers == (
        rig.images.resolve("multi:1", "arm64").layers
    )
    await other.images.remove("multi:1")
    assert other.stored() == set()


async def test_names_of_one_index_move_together(rig: Rig) -> None:
    """More of an index that comes later is there under all its names, in all its records."""
    layout = Layout()
    data = layout.packed(layout.index(layout.image("amd64"), layout.image("arm64")))
    await load(rig, data, "linux/arm64")
    await rig.images.tag("multi:1", "other:1")
    assert rig.images.config(rig.images.resolve("other:1").id).architecture == "arm64"
    await load(rig, data, "linux/amd64")
    for name in ("multi:1", "other:1"):
        assert rig.images.config(rig.images.resolve(name).id).architecture == "amd64"
        assert rig.images.resolve(name, "arm64").id != rig.images.resolve(name).id
    again = Rig(rig.root)  # as a new daemon reads it
    assert again.images.resolve("other:1", "arm64") == rig.images.resolve("other:1", "arm64")
    assert len(rig.images.records()) == 2
    await rig.images.remove("multi:1", platforms=("linux/amd64",))
    assert rig.images.resolve("other:1") == rig.images.resolve("other:1", "arm64")
    with pytest.raises(NotFound, match="does not provide the specified platform"):
        rig.images.resolve("multi:1", "amd64")
    await rig.images.remove("multi:1", platforms=("linux/arm64",))
    await rig.images.remove("other:1")
    assert rig.stored() == set()


async def test_what_an_archive_lacks_is_not_available(rig: Rig) -> None:
    layout = Layout()
    one, two = layout.image("amd64"), layout.image("arm64")
    top = layout.index(one, two, layout.attestation(one, b"{}"))
    manifest = json.loads(layout.files[f"blobs/sha256/{two['digest'][7:]}"])
    del layout.files[f"blobs/sha256/{manifest['layers'][0]['digest'][7:]}"]
    await load(rig, layout.packed(top))
    assert await available(rig) == [True, False, True]
    with pytest.raises(NotFound):
        rig.images.resolve("multi:1", "linux/arm64")


async def test_indexes_that_name_each_other_a_thousand_times(rig: Rig) -> None:
    layout = Layout()
    top = layout.index(layout.image("amd64"))
    for _ in range(3):
        top = layout.index(*[top] * 1500)
    await load(rig, layout.packed(top))
    assert await available(rig) == [True]
    too_deep = layout.index(top)
    with pytest.raises(DataCorrupt, match="nested too deep"):
        await load(rig, layout.packed(too_deep))


@pytest.mark.parametrize("lie", ["size", "layers", "nothing", "bytes"])
async def test_lies(rig: Rig, lie: str) -> None:
    layout = Layout()
    image = layout.image("amd64")
    place = f"blobs/sha256/{image['digest'][7:]}"
    entries = [image]
    if lie == "size":
        entries = [image, {**layout.attestation(image, b"{}"), "size": 7}]
    elif lie == "layers":
        manifest = json.loads(layout.files[place])
        manifest["layers"] *= 2
        entries = [{**layout.document(media_types.OCI_MANIFEST, **_members(manifest))}]
    elif lie == "nothing":
        del layout.files[place]
    else:
        layout.files[place] = layout.files[place].replace(b"2", b"2 ")
    with pytest.raises(KetchError) as caught:
        await load(rig, layout.packed(layout.index(*entries)))
    assert isinstance(caught.value, (DataCorrupt, InvalidParameter))
    assert rig.stored() == set()
    assert not rig.images.records()


def _members(manifest: dict[str, Any]) -> dict[str, Any]:
    return {key: manifest[key] for key in ("config", "layers")}


async def test_one_that_is_used_stays(rig: Rig) -> None:
    layout = Layout()
    data = layout.packed(layout.index(layout.image("amd64"), layout.image("arm64")))
    await load(rig, data)
    used = rig.images.resolve("multi:1", "arm64")
    rig.container(used)
    for refused in ({}, {"platforms": ("arm64",)}):
        with pytest.raises(KetchError, match="is using its referenced image"):
            await rig.images.remove("multi:1", **refused)  # type: ignore[arg-type]
    assert (await rig.images.prune({"dangling": ("false",)})).removed == ()
    rig.containers.clear()
    await rig.images.remove("multi:1")
    assert rig.stored() == set()


def broken(rig: Rig) -> list[str]:
    """What the records promise and the disk does not hold, or the reverse."""
    store = rig.images._store
    known = {image.id for image in store}
    found = [f"{name} leads nowhere" for name, id in store.all_names().items() if id not in known]
    wanted: set[str] = set()
    for name, index in store.indexes_by_name().items():
        lost = [image.id for image in index.images if image.id not in known]
        found += [f"{name} lacks {image}" for image in lost]
        if store.all_names()[name] != index.primary:
            found.append(f"{name} does not lead to the best image")
        wanted |= set(index.digests) | {f"layer {layer}" for layer in index.layers}
    for image in store:
        wanted |= {image.id, image.manifest, *image.blobs} | {f"layer {x}" for x in image.layers}
    layers = {text.removeprefix("layer ") for text in wanted if text.startswith("layer ")}
    kept = rig.stored()
    found += [f"{one} is gone" for one in wanted - kept - layers - {""}]
    return found + [f"{one} is kept" for one in kept - wanted]


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_lost_or_left(tmp_path: Path, seed: int) -> None:
    """Whatever is done in whatever order, with a new daemon in between."""
    choice = random.Random(seed)
    rig = Rig(tmp_path / "data")
    layout = Layout()
    arms = [layout.image(arch) for arch in ("amd64", "arm64", "s390x")]
    tops = [layout.index(*arms), layout.index(*arms[1:], layout.attestation(arms[1], b"{}"))]
    archives = [layout.packed(top) for top in tops]
    names = ["multi:1", "a:1", "b:1"]
    for _ in range(40):
        action = choice.choice(["load", "load", "tag", "tag", "rmi", "rmi -p", "prune", "daemon"])
        name, platform = choice.choice(names), choice.choice(["amd64", "arm64", "s390x", ""])
        try:
            if action == "load":
                await load(rig, choice.choice(archives), platform)
            elif action == "tag":
                await rig.images.tag(name, choice.choice(names))
            elif action == "rmi":
                await rig.images.remove(name, force=choice.random() < 0.3)
            elif action == "rmi -p":
                await rig.images.remove(name, platforms=(platform or "amd64",))
            elif action == "prune":
                await rig.images.prune({})
            else:
                rig = Rig(rig.root)
        except NotFound:
            continue
        await rig.images.collect_garbage()
        assert broken(rig) == [], action
    await rig.images.prune({"dangling": ("false",)})
    assert rig.stored() == set()
