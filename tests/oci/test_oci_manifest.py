"""Manifests: one reading, or refused."""

from __future__ import annotations

import json
import resource
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.errors import DataCorrupt, KetchError, Unsupported
from ketch.oci import digest, image, media_types, strictjson
from ketch.oci.manifest import Index, Manifest, decode

DIGEST = "sha256:" + "a" * 64


def descriptor(**changes: Any) -> dict[str, Any]:
    return {"mediaType": media_types.OCI_LAYER_GZIP, "digest": DIGEST, "size": 10} | changes


def manifest(**changes: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": descriptor(mediaType=media_types.OCI_CONFIG),
        "layers": [descriptor()],
    } | changes


def read(document: Any, served_as: str = "") -> Manifest | Index:
    return decode(json.dumps(document).encode(), served_as)


def test_a_manifest_of_either_family() -> None:
    assert isinstance(read(manifest(), media_types.OCI_MANIFEST), Manifest)
    docker = manifest(
        mediaType=media_types.DOCKER_MANIFEST,
        config=descriptor(mediaType=media_types.DOCKER_CONFIG),
        layers=[descriptor(mediaType=media_types.DOCKER_LAYER_GZIP)],
    )
    assert isinstance(read(docker, media_types.DOCKER_MANIFEST + "; charset=utf-8"), Manifest)
    bare = manifest()
    del bare["mediaType"]
    assert isinstance(read(bare, media_types.OCI_MANIFEST), Manifest)
    assert isinstance(read(bare), Manifest)
    index = {"schemaVersion": 2, "manifests": [descriptor(mediaType=media_types.OCI_MANIFEST)]}
    assert isinstance(read(index), Index)
    assert isinstance(read(index, media_types.DOCKER_INDEX), Index)


@pytest.mark.parametrize(
    "document",
    [
        manifest(manifests=[]),
        manifest(layers=None),
        manifest(config=None),
        manifest(schemaVersion=1),
        manifest(schemaVersion="2"),
        manifest(layers=[None]),
        manifest(layers=[descriptor(size=-1)]),
        manifest(layers=[descriptor(size=1 << 63)]),
        manifest(layers=[descriptor(size=1 << 70)]),
        manifest(layers=[descriptor(size=1.5)]),
        manifest(layers=[descriptor(size="10")]),
        manifest(layers=[descriptor(size=None)]),
        manifest(layers=[descriptor(digest="")]),
        manifest(layers=[descriptor(digest="sha256:../../../etc/passwd")]),
        manifest(layers=[descriptor(digest="SHA256:" + "A" * 64)]),
        manifest(layers=[descriptor()] * 501),
        {"schemaVersion": 2, "manifests": None},
        {"schemaVersion": 2, "manifests": [], "config": descriptor()},
        {"schemaVersion": 2, "manifests": [], "layers": [], "mediaType": media_types.OCI_INDEX},
        None,
        [],
        "x",
    ],
)
def test_malformed_documents(document: Any) -> None:
    with pytest.raises(DataCorrupt):
        read(document)


def test_served_as_something_else() -> None:
    with pytest.raises(DataCorrupt, match="calls itself"):
        read(manifest(), media_types.DOCKER_MANIFEST)
    bare = manifest()
    del bare["mediaType"]
    with pytest.raises(DataCorrupt):
        read(bare, media_types.OCI_INDEX)  # one digest under two content types: one reading


@pytest.mark.parametrize(
    "changes",
    [
        {"config": descriptor(mediaType="application/vnd.cncf.helm.config.v1+json")},
        {"layers": [descriptor(mediaType="application/x-thing")]},
        {"layers": [descriptor(mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar")]},
        {"mediaType": "text/html"},
        {"fsLayers": []},
    ],
)
def test_what_is_no_image_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        read(manifest(**changes))


@pytest.mark.parametrize(
    "text",
    [
        '{"schemaVersion":2,"schemaVersion":2}',
        '{"layers":[],"\\u006cayers":[]}',
        '{"layers":[],"Layers":[]}',
        '{"annotations":{"a":"1","a":"2"}}',
        '{"a":' * 101 + "1" + "}" * 101,
        "[" * 5000,
        "[" + "1," * 200_000 + "1]",
        '{"\\ud800":1}',
        '"' + '\\"' * 1_000_000,
        " " * (4 * 1024 * 1024 + 1),
    ],
)
def test_documents_with_two_readings_or_without_end(text: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataCorrupt):
        decode(text.encode())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


def test_keys_that_differ_in_case_are_fine_inside() -> None:
    strictjson.check(b'{"Labels":{"A":"1","a":"2"},"list":[{"x":1},{"x":1}]}', "it")


@given(st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.just(DIGEST),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["schemaVersion", "layers", "config", "manifests", "digest", "size",
                         "mediaType", "platform"]), inner, max_size=5),
    max_leaves=12,
))  # fmt: skip
def test_any_json_is_decoded_or_refused(document: Any) -> None:
    try:
        read(document)
    except KetchError:
        pass


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(KetchError):
        decode(data)


@given(st.data())
def test_a_flipped_byte_changes_the_digest(data: st.DataObject) -> None:
    blob = bytearray(json.dumps(manifest()).encode())
    before = digest.of(bytes(blob))
    position = data.draw(st.integers(0, len(blob) - 1))
    blob[position] ^= data.draw(st.integers(1, 255))
    assert not digest.matches(bytes(blob), before)


CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2024-01-02T03:04:05.123456Z",
    "config": {"Cmd": ["sh"], "Env": None, "OnBuild": ["RUN x"], "Strange": 1},
    "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
    "history": [{"created_by": "x", "empty_layer": True}],
    "os.version": "12",
    "moby.buildkit.cache.v0": {"x": 1},
}


def test_image_configuration() -> None:
    config = image.decode(json.dumps(CONFIG).encode())
    assert config.run.cmd == ["sh"]
    assert config.run.on_build == ["RUN x"]
    assert config.os_version == "12"
    assert config.created_at == 1_704_164_645_123_456_000
    assert image.decode(image.encode(config)) == config


@pytest.mark.parametrize(
    "changes",
    [
        {"rootfs": {"type": "x", "diff_ids": []}},
        {"rootfs": {"type": "layers", "diff_ids": ["sha256:.."]}},
        {"rootfs": None},
        {"config": {"Cmd": "sh"}},
        {"history": 1},
    ],
)
def test_bad_configurations(changes: dict[str, Any]) -> None:
    with pytest.raises(DataCorrupt):
        image.decode(json.dumps(CONFIG | changes).encode())


def test_times_round_trip() -> None:
    assert image.format_time(1_704_164_645_123_456_789) == "2024-01-02T03:04:05.123456789Z"
    assert image.parse_time("0001-01-01T00:00:00Z") == 0
    assert image.parse_time("nonsense") == 0
