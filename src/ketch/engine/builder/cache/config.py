"""The document that a build cache is described by: BuildKit's ``cacheconfig.v0``.

``layers`` is a list of blobs, each knowing the one below it; ``records`` are steps by the digest of
their cache key, with the layer that came of each. Ketch's keys say all that a step depends on, so
records need no inputs. Steps without a layer, which BuildKit does not have, stand in ``ketch``, the
contents of cache mounts in ``ketchMounts``.
Source: BuildKit's docs/dev and cache/remotecache/v1 (names of members only).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ketch.build.executor import CacheEntry
from ketch.engine.builder.cache.mounts import MountKey
from ketch.engine.images.manifests import Piece
from ketch.errors import DataCorrupt
from ketch.oci import digest as digests
from ketch.oci import strictjson
from ketch.oci.descriptor import Descriptor
from ketch.oci.descriptor import Size as _Size

MEDIA_TYPE = "application/vnd.buildkit.cacheconfig.v0"
INLINE_KEY = "moby.buildkit.cache.v0"


class _Annotations(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    media_type: str = ""
    diff_id: str = msgspec.field(default="", name="diffID")
    size: int = 0
    created_at: str = ""


class _Layer(msgspec.Struct, kw_only=True, omit_defaults=True):
    blob: str
    parent: int = -1
    annotations: _Annotations | None = None


class _Result(msgspec.Struct, kw_only=True):
    layer: int
    createdAt: str = ""


class _Record(msgspec.Struct, kw_only=True, omit_defaults=True):
    digest: str
    layers: list[_Result] = []


class _Mount(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    id: str
    base: str = ""
    blob: Descriptor
    size: _Size


class _Config(msgspec.Struct, kw_only=True, omit_defaults=True):
    layers: list[_Layer] = []
    records: list[_Record] = []
    ketch: dict[str, str] = {}  # key → created, of steps without a layer
    ketch_mounts: list[_Mount] = msgspec.field(default=[], name="ketchMounts")


class Imported(msgspec.Struct, frozen=True):
    """A step of somebody else's: its outcome, and the blob of its layer (None without one)."""

    entry: CacheEntry
    blob: Descriptor | None


class MountContent(msgspec.Struct, frozen=True):
    """What a cache mount held: a tar archive of ``size`` bytes when it is not compressed."""

    key: MountKey
    blob: Descriptor
    size: int


def encode(
    entries: Mapping[str, CacheEntry],
    pieces: Mapping[str, Piece],
    mounts: Sequence[MountContent] = (),
) -> bytes:
    """The document; ``pieces`` are the layers' blobs by diff ID."""
    layers = list(pieces)
    config = _Config(
        layers=[_layer(diff_id, pieces[diff_id].descriptor) for diff_id in layers],
        records=[
            _Record(digest=key, layers=[_Result(layer=layers.index(e.layer), createdAt=e.created)])
            for key, e in entries.items()
            if e.layer
        ],
        ketch={key: entry.created for key, entry in entries.items() if not entry.layer},
        ketch_mounts=[
            _Mount(id=m.key.id, base=m.key.base, blob=m.blob, size=m.size) for m in mounts
        ],
    )
    return msgspec.json.encode(config, order="deterministic")


def _layer(diff_id: str, blob: Descriptor) -> _Layer:
    facts = _Annotations(media_type=blob.media_type, diff_id=diff_id, size=blob.size)
    return _Layer(blob=blob.digest, annotations=facts)


def decode_mounts(data: bytes) -> dict[MountKey, MountContent]:
    """The contents of cache mounts; raises ``DataCorrupt``."""
    found = [
        MountContent(MountKey(m.id, m.base), m.blob, m.size) for m in _decoded(data).ketch_mounts
    ]
    return {content.key: content for content in found}


def _decoded(data: bytes) -> _Config:
    strictjson.check(data, "the build cache")
    try:
        return msgspec.json.decode(data, type=_Config)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DataCorrupt(f"malformed build cache: {error}") from None


def decode(data: bytes, blobs: Sequence[Descriptor] = ()) -> dict[str, Imported]:
    """The steps by key. ``blobs`` are the layers as a manifest describes them; without, the
    document's own words count. Raises ``DataCorrupt``."""
    config = _decoded(data)
    known = {blob.digest: blob for blob in blobs}
    found = {
        key: Imported(CacheEntry("", created), None)
        for key, created in config.ketch.items()
        if digests.is_digest(key)
    }
    for record in config.records:
        for result in record.layers[:1]:
            if not 0 <= result.layer < len(config.layers) or not digests.is_digest(record.digest):
                raise DataCorrupt("malformed build cache: a record names a layer that is not there")
            imported = _imported(config.layers[result.layer], result.createdAt, known)
            if imported is not None:
                found[record.digest] = imported
    return found


def _imported(layer: _Layer, created: str, known: Mapping[str, Descriptor]) -> Imported | None:
    """None for a layer of a builder that does not say its diff ID."""
    facts = layer.annotations or _Annotations()
    if not digests.is_digest(facts.diff_id) or not digests.is_digest(layer.blob):
        return None
    try:
        own = Descriptor(media_type=facts.media_type, digest=layer.blob, size=facts.size)
    except (ValueError, msgspec.ValidationError):
        raise DataCorrupt("malformed build cache: a layer's facts") from None
    return Imported(CacheEntry(facts.diff_id, created), known.get(layer.blob, own))
