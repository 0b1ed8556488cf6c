"""Where a build's cache goes to and comes from: the values of ``--cache-to`` and ``--cache-from``.

Types and attributes are BuildKit's (docs.docker.com/build/cache/backends): ``inline``, ``registry``
and ``local``. What ketch does not honour is refused by name. ``cache-mounts`` and
``cache-mounts-max`` are ketch's own: contents of ``RUN --mount=type=cache`` go along.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ketch import sizes
from ketch.build.request.exports import GZIP, compression_of, flag_of
from ketch.errors import InvalidParameter, Unsupported
from ketch.oci import reference as references

INLINE, REGISTRY, LOCAL = "inline", "registry", "local"
_LAYERS = {
    *("mode", "compression", "compression-level", "force-compression", "oci-mediatypes"),
    *("image-manifest", "ignore-error"),
}
_MOST_KEY = "cache-mounts-max"
_MOUNTS = {"cache-mounts", _MOST_KEY}
_EXPORTS = {
    INLINE: {"mode", "ignore-error"},
    REGISTRY: {"ref", "registry.insecure", *_LAYERS, *_MOUNTS},
    LOCAL: {"dest", "tag", "reset", *_LAYERS, *_MOUNTS},
}
_IMPORTS = {
    REGISTRY: {"ref", "registry.insecure", *_MOUNTS},
    LOCAL: {"src", "tag", "digest", *_MOUNTS},
}
_MOST = 4 << 30  # bytes of all cache mounts of one cache, uncompressed
_STORE = "local:"


class MountChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Which cache mounts go along: all of the build, or those with these IDs; ``most`` bytes."""

    all: bool = False
    ids: tuple[str, ...] = ()
    most: int = _MOST

    @property
    def any(self) -> bool:
        """Whether there may be one."""
        return self.all or bool(self.ids)

    def wants(self, id: str) -> bool:
        """Whether it is one of them."""
        return self.all or id in self.ids


class CacheExport(msgspec.Struct, frozen=True, kw_only=True):
    """Where to. ``everything`` (mode=max) exports the steps of all stages, not only those whose
    layers are in the result. ``as_image`` makes an image manifest, else an index. ``store`` is a
    ``local`` one's name in ``Offers``; what ``reset`` deletes there is its client's business. An
    ``insecure`` registry may speak plain HTTP or have any certificate."""

    type: str
    ref: str = ""
    insecure: bool = False
    store: str = ""
    tag: str = "latest"
    everything: bool = False
    compression: str = GZIP
    level: int | None = None
    recompress: bool = False
    as_image: bool = True
    ignore_error: bool = False
    mounts: MountChoice = MountChoice()


class CacheImport(msgspec.Struct, frozen=True, kw_only=True):
    """Where from; ``store`` is a ``local`` one's name in ``Offers``."""

    type: str = REGISTRY
    ref: str = ""
    insecure: bool = False
    store: str = ""
    tag: str = "latest"
    digest: str = ""
    mounts: MountChoice = MountChoice()


def parse_cache_export(type: str, attributes: Mapping[str, str]) -> CacheExport:
    """Raises ``Unsupported`` or ``InvalidParameter`` that name what is wrong."""
    _check("--cache-to", type, attributes, _EXPORTS)
    mode = attributes.get("mode", "min")
    if mode not in ("min", "max"):
        raise InvalidParameter(f"--cache-to: mode={mode!r} is not min or max")
    if type == REGISTRY:
        _check_ref("--cache-to", attributes)
    if not flag_of(attributes, "oci-mediatypes", True):
        raise Unsupported("--cache-to: oci-mediatypes=false is not supported")
    flag_of(attributes, "reset", False)
    compression, level = compression_of(attributes)
    return CacheExport(
        type=type,
        ref=attributes.get("ref", ""),
        insecure=flag_of(attributes, "registry.insecure", False),
        store=_store(type, attributes, "dest"),
        tag=attributes.get("tag", "latest"),
        everything=mode == "max",
        compression=compression,
        level=level,
        recompress=flag_of(attributes, "force-compression", False),
        as_image=flag_of(attributes, "image-manifest", True),
        ignore_error=flag_of(attributes, "ignore-error", False),
        mounts=_mounts("--cache-to", attributes),
    )


def parse_cache_import(type: str, attributes: Mapping[str, str]) -> CacheImport:
    """Raises ``Unsupported`` or ``InvalidParameter`` that name what is wrong."""
    _check("--cache-from", type, attributes, _IMPORTS)
    if type == REGISTRY:
        _check_ref("--cache-from", attributes)
    return CacheImport(
        type=type,
        ref=attributes.get("ref", ""),
        insecure=flag_of(attributes, "registry.insecure", False),
        store=_store(type, attributes, "src"),
        tag=attributes.get("tag", "latest"),
        digest=attributes.get("digest", ""),
        mounts=_mounts("--cache-from", attributes),
    )


def _mounts(what: str, attributes: Mapping[str, str]) -> MountChoice:
    """``cache-mounts=true`` or IDs with commas between them."""
    text = attributes.get("cache-mounts", "false")
    words = tuple(word for word in text.split(",") if word)
    plain = text.lower() in ("", "0", "1", "true", "false")
    try:
        most = sizes.parse(attributes[_MOST_KEY]) if _MOST_KEY in attributes else _MOST
    except InvalidParameter as error:
        raise InvalidParameter(f"{what}: {_MOST_KEY}: {error}") from None
    wanted = plain and flag_of(attributes, "cache-mounts", False)
    return MountChoice(all=wanted, ids=() if plain else words, most=most)


def _store(type: str, attributes: Mapping[str, str], key: str) -> str:
    if type != LOCAL:
        return ""
    if not attributes.get(key):
        raise InvalidParameter(f"a cache of type=local needs {key}=")
    return _STORE + attributes[key]


def _check(
    what: str, type: str, attributes: Mapping[str, str], known: Mapping[str, set[str]]
) -> None:
    if type not in known:
        raise Unsupported(f"{what}: the type {type!r} is not supported: {', '.join(known)}")
    for name in attributes:
        if name not in known[type]:
            raise Unsupported(f"{what}: the attribute {name!r} of type {type!r} is not supported")


def _check_ref(what: str, attributes: Mapping[str, str]) -> None:
    if not attributes.get("ref"):
        raise InvalidParameter(f"{what}: type=registry needs ref=")
    references.parse(attributes["ref"])
