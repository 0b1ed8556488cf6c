"""Registries that lie: nothing they say is believed, and nothing of it is kept."""

from __future__ import annotations

import json
import os
import random
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from distribution.fake_registry import FakeRegistry, digest_of
from images.image_rig import Rig, gather, tar
from ketch.errors import DataCorrupt, InvalidParameter, KetchError, Unsupported
from ketch.oci import media_types

LAYERS = (tar({"a": b"first" * 1000}), tar({"b": os.urandom(3000)}))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "data", kind="directory")


async def refused(rig: Rig, fake: FakeRegistry, *kinds: type[KetchError]) -> None:
    async with fake.serving() as host:
        with pytest.raises(kinds or (DataCorrupt,)):
            await gather(rig.images.pull(f"{host}/x:1"))
    assert rig.images.records() == []
    assert rig.stored() == set()


async def test_the_honest_one_is_believed(rig: Rig) -> None:
    fake = FakeRegistry(*LAYERS)
    async with fake.serving() as host:
        await gather(rig.images.pull(f"{host}/x:1"))
        assert rig.images.resolve(f"{host}/x:1").id == fake.config


def at(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split("/")
    target: Any = document
    for key in parents:
        target = target[int(key)] if isinstance(target, list) else target[key]
    target[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("layers/0/size", -1),
        ("layers/0/size", 0),
        ("layers/0/size", 1 << 63),
        ("layers/0/size", None),
        ("layers/0/size", "12"),
        ("layers", None),
        ("manifests", []),
        ("config/size", 5),
        ("config/size", 1 << 40),
        ("config/digest", "sha256:" + "0" * 64 + "0"),
        ("schemaVersion", 1),
        ("mediaType", media_types.DOCKER_MANIFEST),
        ("mediaType", media_types.OCI_INDEX),
    ],
)
async def test_lies_in_the_manifest(rig: Rig, path: str, value: Any) -> None:
    fake = FakeRegistry(*LAYERS)
    at(fake.document, path, value)
    await refused(rig, fake)


@pytest.mark.parametrize("difference", [1, -1, 1000])
@pytest.mark.parametrize("place", ["config", "layer"])
async def test_sizes_that_are_a_little_wrong(rig: Rig, difference: int, place: str) -> None:
    fake = FakeRegistry(*LAYERS)
    entry = fake.document["config"] if place == "config" else fake.document["layers"][1]
    entry["size"] += difference
    await refused(rig, fake)


@pytest.mark.parametrize(
    "make",
    [
        lambda text: text.replace(b'"layers"', b'"layers": [], "layers"'),
        lambda text: text[:-1] + b',"Layers":[]}',
        lambda text: b"[" * 200 + text,
        lambda text: text[:-1] + b',"x":' + b'{"x":' * 150 + b"1" + b"}" * 150 + b"}",
        lambda text: text + b" " * (4 << 20),
        lambda text: text[: len(text) // 2],
        lambda text: b"",
        lambda text: b"null",
        lambda text: b"\xff\xfe" + text,
    ],
)
async def test_malformed_manifests(rig: Rig, make: Callable[[bytes], bytes]) -> None:
    fake = FakeRegistry(*LAYERS)
    fake.manifest = make(fake.manifest_bytes())
    await refused(rig, fake)


async def test_more_than_500_layers_and_huge_manifests_cost_no_memory(rig: Rig) -> None:
    fake = FakeRegistry(*LAYERS)
    fake.document["layers"] = fake.document["layers"][:1] * 501
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await refused(rig, fake)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(100):
                await response.write(b" " * (1 << 20))
        except ConnectionError:
            pass
        return response

    fake.on_manifest = endless  # type: ignore[method-assign]
    await refused(rig, fake)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


@pytest.mark.parametrize(
    "headers",
    [
        {"Docker-Content-Digest": "sha256:" + "0" * 64},
        {"Content-Type": media_types.OCI_INDEX},
        {"Content-Type": media_types.DOCKER_MANIFEST},
    ],
)
async def test_headers_that_contradict(rig: Rig, headers: dict[str, str]) -> None:
    fake = FakeRegistry(*LAYERS)
    fake.manifest_headers = headers
    await refused(rig, fake)


@pytest.mark.parametrize("header", ["nonsense", "text/html"])
async def test_no_images(rig: Rig, header: str) -> None:
    fake = FakeRegistry(*LAYERS)
    fake.manifest_headers = {"Content-Type": header}
    await refused(rig, fake, Unsupported)


async def test_asked_for_by_digest_and_given_another(rig: Rig) -> None:
    fake = FakeRegistry(*LAYERS)
    fake.manifest_headers = {"Docker-Content-Digest": ""}
    async with fake.serving() as host:
        with pytest.raises(DataCorrupt, match="does not have the digest"):
            await gather(rig.images.pull(f"{host}/x@sha256:{'0' * 64}"))
    assert rig.stored() == set()


async def test_a_layer_that_is_not_what_the_configuration_names(rig: Rig) -> None:
    fake = FakeRegistry(*LAYERS)
    fake.document["layers"].reverse()
    await refused(rig, fake, DataCorrupt)
    fake.document["layers"].pop()
    await refused(rig, fake, DataCorrupt)


async def test_layers_that_are_no_tars(rig: Rig) -> None:
    await refused(rig, FakeRegistry(b"no tar at all" * 100), DataCorrupt, InvalidParameter)
    fake = FakeRegistry(*LAYERS)
    fake.document["layers"][0] = fake.descriptor(
        fake.add(b"\x1f\x8b broken"), media_types.OCI_LAYER_GZIP
    )
    await refused(rig, fake, DataCorrupt)


async def test_a_layer_that_leaves_its_tree(rig: Rig) -> None:
    fake = FakeRegistry(tar({"../../escape": b"x"}))
    async with fake.serving() as host:
        try:
            await gather(rig.images.pull(f"{host}/x:1"))
        except KetchError:
            assert rig.stored() == set()
    assert not (rig.root.parent / "escape").exists()
    assert not (rig.root / "escape").exists()


async def test_any_byte_flipped_a_hundred_times(rig: Rig) -> None:
    """The registry keeps announcing the true digests; each flip is refused, nothing is stored."""
    fake = FakeRegistry(*LAYERS)
    manifest = fake.manifest_bytes()
    fake.manifest_headers = {"Docker-Content-Digest": digest_of(manifest)}
    honest = dict(fake.blobs)
    random_ = random.Random(7)
    async with fake.serving() as host:
        for number in range(100):
            fake.manifest, fake.blobs = manifest, dict(honest)
            place = number % 4
            if place == 0:
                fake.manifest = flipped(manifest, random_)
            else:
                digest = [fake.config, *fake.layers][place - 1]
                fake.blobs[digest] = flipped(honest[digest], random_)
            with pytest.raises((DataCorrupt, Unsupported)):
                await gather(rig.images.pull(f"{host}/x:1"))
            assert rig.stored() == set()
    assert rig.images.records() == []


def flipped(data: bytes, random_: random.Random) -> bytes:
    changed = bytearray(data)
    changed[random_.randrange(len(changed))] ^= 1 << random_.randrange(8)
    return bytes(changed)


async def test_configurations_that_lie(rig: Rig) -> None:
    for changes in (
        {"rootfs": {"type": "layers", "diff_ids": []}},
        {"rootfs": {"type": "layers", "diff_ids": ["sha256:../../x", "y"]}},
        {"config": []},
    ):
        fake = FakeRegistry(*LAYERS)
        config = json.loads(fake.blobs[fake.config]) | changes
        fake.document["config"] = fake.descriptor(
            fake.add(json.dumps(config).encode()), media_types.OCI_CONFIG
        )
        await refused(rig, fake)


def behind_an_index(fake: FakeRegistry, **changes: Any) -> bytes:
    """The image behind an index, which says something else of its manifest."""
    manifest = fake.manifest_bytes()
    entry = {
        "mediaType": media_types.OCI_MANIFEST,
        "digest": digest_of(manifest),
        "size": len(manifest),
        "platform": {"os": "linux", "architecture": "amd64"},
        **changes,
    }
    kind = media_types.OCI_INDEX
    index = {"schemaVersion": 2, "mediaType": kind, "manifests": [entry]}
    data = json.dumps(index).encode()

    async def answer(request: web.Request) -> web.StreamResponse:
        top = request.match_info["target"] == "1"
        body, served = (data, kind) if top else (manifest, media_types.OCI_MANIFEST)
        return web.Response(body=body, headers={"Content-Type": served})

    fake.on_manifest = answer  # type: ignore[method-assign]
    return data


@pytest.mark.parametrize("change", [{"size": 7}, {"size": 1 << 41}, {"digest": "sha256:0"}])
async def test_lies_in_an_index(rig: Rig, change: dict[str, Any]) -> None:
    fake = FakeRegistry(*LAYERS)
    behind_an_index(fake, **change)
    await refused(rig, fake)


async def test_an_honest_index_is_kept(rig: Rig) -> None:
    fake = FakeRegistry(*LAYERS)
    data = behind_an_index(fake)
    async with fake.serving() as host:
        await gather(rig.images.pull(f"{host}/x:1"))
        assert digest_of(data) in {digest for digest, _ in rig.content.walk()}
        (digest,) = rig.images.resolve(f"{host}/x:1").digests
        assert digest == f"{host}/x@{digest_of(data)}"
        await rig.images.remove(f"{host}/x:1")
    assert rig.stored() == set()
