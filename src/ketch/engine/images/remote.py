"""Looking at images in their registry without pulling them, and searching for some."""

from __future__ import annotations

import msgspec

from ketch.distribution.auth import Credentials
from ketch.distribution.client import RegistryClient
from ketch.distribution.hosts import RegistrySettings
from ketch.distribution.resolve import resolve
from ketch.distribution.search import MOST_RESULTS, SearchResult, search
from ketch.engine.filters import Filters
from ketch.errors import InvalidParameter
from ketch.oci import image, manifest
from ketch.oci.manifest import Index
from ketch.oci.platform import Platform
from ketch.oci.reference import parse

_DEFAULT_RESULTS = 25


class RemoteImage(msgspec.Struct, frozen=True, kw_only=True):
    """What a reference leads to: type, digest and size of a manifest or an index, and the platforms
    that it is for."""

    media_type: str
    digest: str
    size: int
    platforms: tuple[Platform, ...]


async def describe(settings: RegistrySettings, text: str, auth: Credentials) -> RemoteImage:
    """Ask a registry about a reference; raises what ``RegistryClient.manifest`` raises."""
    reference = parse(text).tagged()
    async with RegistryClient(settings, reference, auth) as client:
        served = await client.manifest(reference.digest or reference.tag)
        document = manifest.decode(served.data, served.media_type)
        if isinstance(document, Index):
            platforms = tuple(entry.platform or Platform() for entry in document.manifests)
        else:
            blob = await client.blob(document.config, image.LARGEST_CONFIG)
            platforms = (image.decode(blob).platform,)
    return RemoteImage(
        media_type=served.media_type.partition(";")[0] or document.media_type,
        digest=served.digest,
        size=len(served.data),
        platforms=platforms,
    )


async def configuration(
    settings: RegistrySettings, text: str, wanted: Platform, auth: Credentials
) -> bytes:
    """The configuration of an image, without its layers; raises what ``resolve`` raises."""
    async with RegistryClient(settings, parse(text).tagged(), auth) as client:
        return (await resolve(client, wanted, exact=False)).config_blob


async def find(
    settings: RegistrySettings, term: str, limit: int, filters: Filters, auth: Credentials
) -> list[SearchResult]:
    """Search an index; ``limit`` 0 = as many as Docker gives. Filters: is-official, is-automated,
    stars. Raises ``InvalidParameter`` and what ``distribution.search`` raises."""
    if limit and not 1 <= limit <= MOST_RESULTS:
        raise InvalidParameter(f"limit {limit} is outside the range of [1, {MOST_RESULTS}]")
    official = _switch(filters, "is-official")
    automated = _switch(filters, "is-automated")
    stars = max((_number(text) for text in filters.get("stars", ())), default=0)
    found = await search(settings, term, limit or _DEFAULT_RESULTS, auth)
    return [
        item
        for item in found
        if official in (None, item.is_official)
        and automated in (None, item.is_automated)
        and item.star_count >= stars
    ]


def _switch(filters: Filters, key: str) -> bool | None:
    values = set(filters.get(key, ()))
    if not values:
        return None
    if values in ({"true"}, {"1"}):
        return True
    if values in ({"false"}, {"0"}):
        return False
    raise InvalidParameter(f"invalid filter '{key}=[{' '.join(sorted(values))}]'")


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidParameter(f"invalid filter 'stars=[{text}]'")
    return int(text)
