"""What is to become of a build's result: the values of ``--output``.

Names and attributes are BuildKit's (README, "Output"; docs.docker.com/build/exporters). What ketch
does not honour is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from ketch.errors import InvalidParameter, Unsupported
from ketch.oci import platform as platforms

IMAGE, DOCKER, OCI, TAR, LOCAL, CACHE_ONLY = "image", "docker", "oci", "tar", "local", "cacheonly"
GZIP, ZSTD, NONE = "gzip", "zstd", "none"
MANIFEST, INDEX = "manifest", "index"
MANIFEST_DESCRIPTOR, INDEX_DESCRIPTOR = "manifest-descriptor", "index-descriptor"
_TYPES = {"moby": IMAGE, "registry": IMAGE, "": IMAGE}
_KNOWN_TYPES = (IMAGE, DOCKER, OCI, TAR, LOCAL, CACHE_ONLY)
_COMPRESSIONS = {"": GZIP, "gzip": GZIP, "zstd": ZSTD, "uncompressed": NONE, "none": NONE}
_LEVELS = {GZIP: (0, 9), ZSTD: (0, 22)}
_FILES = {"dest", "platform-split", "attestation-prefix"}
_IMAGES = {
    *("name", "compression", "compression-level", "force-compression", "oci-mediatypes"),
    *("rewrite-timestamp", "context"),
}
_ATTRIBUTES = {
    IMAGE: {
        *(*_IMAGES, "push", "push-by-digest", "store", "load", "unpack"),
        *("registry.insecure", "name-canonical", "dangling-name-prefix"),
    },
    DOCKER: {*_IMAGES, "dest", "tar"},
    OCI: {*_IMAGES, "dest", "tar"},
    TAR: _FILES,
    LOCAL: _FILES,
    CACHE_ONLY: set(),
}
_ANNOTATION = re.compile(
    r"annotation(?:-(manifest|index|manifest-descriptor|index-descriptor))?(?:\[([^\]]*)\])?\.(.+)"
)


class Annotation(msgspec.Struct, frozen=True):
    """One annotation: on which document, for which platform ("" = all), key and value."""

    place: str
    platform: str
    key: str
    value: str


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """One ``--output``.

    ``names`` are references of the image; ``store`` (compose says ``load``) keeps it here, ``push``
    sends it to its registries (``insecure``: which may speak plain HTTP or have any certificate).
    ``canonical`` gives it its names by digest too, ``dangling`` is what it is called by digest when
    it has none. ``level`` of the compression is None for the default; ``recompress`` compresses
    layers anew that came compressed in another way. ``oci_types`` is None when nothing was said of
    media types. ``archive`` False asks for a directory where an archive is usual. ``split`` says
    whether each platform has a directory of its own; None: if there are several. ``rewrite`` says
    whether files are to be no younger than SOURCE_DATE_EPOCH (None: not said).
    ``attestation_prefix`` begins the names of attestations beside a tree.
    """

    type: str = IMAGE
    names: tuple[str, ...] = ()
    store: bool = True
    push: bool = False
    by_digest: bool = False
    insecure: bool = False
    canonical: bool = False
    dangling: str = ""
    compression: str = GZIP
    level: int | None = None
    recompress: bool = False
    oci_types: bool | None = None
    annotations: tuple[Annotation, ...] = ()
    archive: bool = True
    split: bool | None = None
    rewrite: bool | None = None
    attestation_prefix: str = ""

    @property
    def is_plain(self) -> bool:
        """An image for the store and nothing else."""
        stored = self.type == IMAGE and self.store and not self.push
        usual = self.compression == GZIP and self.level is None and not self.recompress
        named = self.canonical or bool(self.dangling)
        return stored and usual and not (self.annotations or named)

    def annotations_of(self, place: str, platform: str = "") -> dict[str, str]:
        """The annotations of a document."""
        return {
            a.key: a.value
            for a in self.annotations
            if a.place == place and a.platform in ("", platform)
        }


def parse_export(type: str, attributes: Mapping[str, str]) -> Export:
    """One export; raises ``Unsupported`` or ``InvalidParameter`` that name what is wrong."""
    kind = _TYPES.get(type, type)
    if kind not in _KNOWN_TYPES:
        raise Unsupported(f"the output type {type!r} is not supported: {', '.join(_KNOWN_TYPES)}")
    annotations, rest = _annotations(attributes)
    if annotations and kind not in (IMAGE, DOCKER, OCI):
        raise InvalidParameter(f"the output type {kind!r} takes no annotations")
    for name in rest:
        if name not in _ATTRIBUTES[kind]:
            raise Unsupported(
                f"the attribute {name!r} of the output type {kind!r} is not supported"
            )
    compression, level = compression_of(rest)
    flag_of(rest, "unpack", True)  # what is kept here always is; "false" promises nothing else
    return Export(
        type=kind,
        names=tuple(name for name in rest.get("name", "").split(",") if name),
        store=flag_of(rest, "store", flag_of(rest, "load", type != "registry")),
        push=flag_of(rest, "push", type == "registry"),
        by_digest=flag_of(rest, "push-by-digest", False),
        insecure=flag_of(rest, "registry.insecure", False),
        canonical=flag_of(rest, "name-canonical", False),
        dangling=rest.get("dangling-name-prefix", ""),
        compression=compression,
        level=level,
        recompress=flag_of(rest, "force-compression", False),
        oci_types=flag_of(rest, "oci-mediatypes", True) if "oci-mediatypes" in rest else None,
        annotations=annotations,
        archive=flag_of(rest, "tar", True),
        rewrite=flag_of(rest, "rewrite-timestamp", False) if "rewrite-timestamp" in rest else None,
        attestation_prefix=_file_name(rest.get("attestation-prefix", "")),
        split=flag_of(rest, "platform-split", False) if "platform-split" in rest else None,
    )


def parse_exports(entries: Iterable[tuple[str, Mapping[str, str]]]) -> tuple[Export, ...]:
    """All exports of a build, as (type, attributes)."""
    return tuple(parse_export(type, attributes) for type, attributes in entries)


def _file_name(text: str) -> str:
    if "/" in text or "\0" in text:
        raise InvalidParameter(f"attestation-prefix={text!r} is no part of a file name")
    return text


def _annotations(attributes: Mapping[str, str]) -> tuple[tuple[Annotation, ...], dict[str, str]]:
    """The annotations, and the attributes that are none."""
    found, rest = [], {}
    for name, value in attributes.items():
        match = _ANNOTATION.fullmatch(name)
        if match is None:
            rest[name] = value
            continue
        platform = str(platforms.parse(match[2])) if match[2] else ""
        found.append(Annotation(match[1] or MANIFEST, platform, match[3], value))
    return tuple(found), rest


def compression_of(attributes: Mapping[str, str]) -> tuple[str, int | None]:
    """``compression`` and ``compression-level``; raises what names them."""
    word = attributes.get("compression", "")
    if word not in _COMPRESSIONS:
        raise Unsupported(f"compression {word!r} is not supported: gzip, zstd, uncompressed")
    kind, text = _COMPRESSIONS[word], attributes.get("compression-level", "")
    if not text:
        return kind, None
    low, high = _LEVELS.get(kind, (0, 0))
    if not (text.isascii() and text.isdigit() and low <= int(text[:3]) <= high and len(text) < 4):
        raise InvalidParameter(f"compression-level {text!r}: {kind} has levels {low} to {high}")
    return kind, int(text)


def flag_of(attributes: Mapping[str, str], name: str, default: bool) -> bool:
    """A boolean attribute; raises ``InvalidParameter``."""
    text = attributes.get(name)
    if text is None:
        return default
    if text.lower() in ("", "1", "t", "true"):
        return True
    if text.lower() in ("0", "f", "false"):
        return False
    raise InvalidParameter(f"{name}={text!r} is not true or false")
