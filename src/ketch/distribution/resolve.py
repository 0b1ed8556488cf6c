"""From a reference to one image: through an index to the manifest of a platform."""

from __future__ import annotations

import msgspec

from ketch.distribution.client import RegistryClient, Served
from ketch.errors import DataCorrupt, KetchError, NotFound
from ketch.oci import image, manifest, platform
from ketch.oci.descriptor import Descriptor
from ketch.oci.image import ImageConfig
from ketch.oci.manifest import Index, Manifest
from ketch.oci.platform import Platform

_DEEPEST = 3  # an index in an index in an index


class Resolved(msgspec.Struct, frozen=True):
    """An image of a registry: ``target`` is the digest that the reference led to (of the index, if
    there is one), ``served`` the manifest byte for byte. ``indexes`` are those on the way to it,
    the outermost first, ``entry`` what the last one says of the manifest."""

    target: str
    served: Served
    indexes: tuple[Served, ...]
    entry: Descriptor | None
    manifest: Manifest
    config_blob: bytes
    config: ImageConfig

    @property
    def image_id(self) -> str:
        """The digest of the configuration."""
        return self.manifest.config.digest


async def resolve(client: RegistryClient, wanted: Platform, *, exact: bool) -> Resolved:
    """Resolve the client's reference for a platform; ``exact`` when a user asked for it.

    Raises ``NotFound`` when nothing fits the platform, and what ``RegistryClient.manifest`` raises.
    """
    reference = client.reference.tagged()
    served = await client.manifest(reference.digest or reference.tag)
    indexes: list[Served] = []
    entry = None
    document = _decoded(client, served)
    while isinstance(document, Index) and len(indexes) < _DEEPEST:
        indexes.append(served)
        entry = _choose(document, wanted)
        served = await client.manifest(entry.digest)
        if len(served.data) != entry.size:
            raise DataCorrupt(f"{reference}: {entry.digest} has another size than its index says")
        document = _decoded(client, served)
    if not isinstance(document, Manifest):
        raise DataCorrupt(f"{reference}: indexes are nested deeper than {_DEEPEST}: refused")
    blob = await client.blob(document.config, image.LARGEST_CONFIG)
    config = _checked(image.decode(blob), document)
    if exact:
        _check_platform(client, config, wanted)
    target = indexes[0].digest if indexes else served.digest
    return Resolved(target, served, tuple(indexes), entry, document, blob, config)


def _decoded(client: RegistryClient, served: Served) -> Manifest | Index:
    try:
        return manifest.decode(served.data, served.media_type)
    except KetchError as error:
        raise type(error)(f"{client.reference}: {error}") from None


def _choose(index: Index, wanted: Platform) -> Descriptor:
    at = platform.choose([entry.platform for entry in index.manifests], wanted)
    if at is None:
        raise NotFound(f"no matching manifest for {wanted} in the manifest list entries")
    return index.manifests[at]


def _checked(config: ImageConfig, document: Manifest) -> ImageConfig:
    if len(config.diff_ids) != len(document.layers):
        raise DataCorrupt(
            f"the image has {len(document.layers)} layers but its configuration names"
            f" {len(config.diff_ids)}: refused"
        )
    return config


def _check_platform(client: RegistryClient, config: ImageConfig, wanted: Platform) -> None:
    if platform.choose([config.platform], wanted) is None:
        raise NotFound(
            f"image with reference {client.reference.familiar} was found but its platform"
            f" ({config.platform.normalised()}) does not match the specified platform ({wanted})"
        )
