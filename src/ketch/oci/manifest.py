"""Manifests and indexes, decoded so that each document has exactly one reading.

Sources: OCI image-spec manifest.md and image-index.md; Docker's image manifest version 2, schema 2;
the rules against documents that are both (CVE-2021-41190): the ``mediaType`` inside must be the one
it was served with, and ``manifests`` and ``layers`` never stand in one document.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from ketch.errors import DataCorrupt, Unsupported
from ketch.oci import media_types, strictjson
from ketch.oci.descriptor import Descriptor

MOST_LAYERS = 500
MOST_MANIFESTS = 2000


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One image: its configuration and layers, base first."""

    schema_version: Literal[2]
    media_type: str = ""
    config: Descriptor
    layers: list[Descriptor]
    annotations: dict[str, str] | None = None
    subject: Descriptor | None = None
    artifact_type: str = ""


class Index(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Several images, usually one per platform."""

    schema_version: Literal[2]
    media_type: str = ""
    manifests: list[Descriptor]
    annotations: dict[str, str] | None = None
    subject: Descriptor | None = None
    artifact_type: str = ""


class _Shape(msgspec.Struct, rename="camel"):
    """Which of the telling keys a document has."""

    media_type: str = ""
    manifests: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    layers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    config: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    fs_layers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_T = TypeVar("_T", Manifest, Index, _Shape)


def decode(data: bytes, served_as: str = "") -> Manifest | Index:
    """Decode what a registry or a layout gave; ``served_as`` is its Content-Type (or descriptor).

    Raises ``DataCorrupt`` for anything ambiguous or malformed, ``Unsupported`` for Docker's
    schema 1 and media types that are no images.
    """
    strictjson.check(data, "the manifest")
    shape = _decoded(data, _Shape)
    media_type = _media_type(shape, served_as.partition(";")[0].strip().lower())
    if shape.manifests is not msgspec.UNSET and (
        shape.layers is not msgspec.UNSET or shape.config is not msgspec.UNSET
    ):
        raise DataCorrupt("the manifest is both an index and an image: refused as ambiguous")
    if media_type in media_types.INDEXES:
        return _index(data)
    return _manifest(data)


def _media_type(shape: _Shape, served_as: str) -> str:
    for named in (served_as, shape.media_type):
        if named in media_types.SCHEMA_1 or shape.fs_layers is not msgspec.UNSET:
            raise Unsupported(
                "the image has the outdated manifest schema 1, which is not supported:"
                " push it again with a current client"
            )
        if named not in media_types.INDEXES | media_types.MANIFESTS | media_types.UNSPECIFIC:
            raise Unsupported(f"media type {named[:100]!r} is not that of an image")
    if served_as in media_types.UNSPECIFIC:
        return shape.media_type or _guess(shape)
    if shape.media_type and shape.media_type != served_as:
        raise DataCorrupt(
            f"the manifest calls itself {shape.media_type} but was served as {served_as}"
        )
    return served_as


def _guess(shape: _Shape) -> str:
    if shape.manifests is not msgspec.UNSET:
        return media_types.OCI_INDEX
    return media_types.OCI_MANIFEST


def _manifest(data: bytes) -> Manifest:
    manifest = _decoded(data, Manifest)
    if len(manifest.layers) > MOST_LAYERS:
        raise DataCorrupt(f"the manifest has more than {MOST_LAYERS} layers")
    if manifest.config.media_type not in media_types.CONFIGS:
        raise Unsupported(
            "not an image: its configuration has the media type "
            f"{manifest.config.media_type[:100]!r}"
        )
    for layer in manifest.layers:
        _check_layer(layer)
    return manifest


def _check_layer(layer: Descriptor) -> None:
    if any(word in layer.media_type for word in media_types.FOREIGN):
        raise Unsupported(
            f"layer {layer.digest} is stored elsewhere (foreign layer): not supported"
        )
    if layer.media_type not in media_types.LAYERS:
        raise Unsupported(f"layer {layer.digest} has the media type {layer.media_type[:100]!r}")


def decode_attached(data: bytes) -> Manifest:
    """A manifest of what is attached to an image (attestations): its blobs may be of any type.

    Raises ``DataCorrupt`` as ``decode`` does.
    """
    strictjson.check(data, "the manifest")
    shape = _decoded(data, _Shape)
    if shape.manifests is not msgspec.UNSET:
        raise DataCorrupt("the manifest is both an index and an image: refused as ambiguous")
    manifest = _decoded(data, Manifest)
    if len(manifest.layers) > MOST_LAYERS:
        raise DataCorrupt(f"the manifest has more than {MOST_LAYERS} layers")
    return manifest


def _index(data: bytes) -> Index:
    index = _decoded(data, Index)
    if len(index.manifests) > MOST_MANIFESTS:
        raise DataCorrupt(f"the index has more than {MOST_MANIFESTS} manifests")
    return index


def _decoded(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DataCorrupt(f"malformed manifest: {error}") from None
