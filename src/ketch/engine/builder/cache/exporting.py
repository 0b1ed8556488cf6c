"""``--cache-to``: the steps of a build and their layers, for other machines."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ketch.build.request.cache_options import LOCAL, CacheExport
from ketch.engine.builder.cache import config as cache_config
from ketch.engine.builder.cache.config import INLINE_KEY, MEDIA_TYPE
from ketch.engine.images.export import TreeLayout
from ketch.engine.images.manifests import Piece
from ketch.engine.images.tree import Form, ImageTree, TreeMaker, data_piece
from ketch.engine.progress import reported
from ketch.errors import KetchError
from ketch.oci import media_types
from ketch.oci import reference as references
from ketch.oci.descriptor import Descriptor
from ketch.oci.digest import of
from ketch.oci.manifest import Index, Manifest

if TYPE_CHECKING:
    from ketch.build.executor import CacheEntry
    from ketch.build.progress.events import Report
    from ketch.engine.builder.cache.mount_transfer import MountTransfer, Packed
    from ketch.engine.builder.outcome.result import Result
    from ketch.engine.builder.room import BuildRoom
    from ketch.engine.images.export import ImageExporter

Entries = Mapping[str, "CacheEntry"]


def with_inline(results: Sequence[Result], entries: Entries) -> list[Result]:
    """The results with the cache in their configurations."""
    return [_inlined(result, entries) for result in results]


def _inlined(result: Result, entries: Entries) -> Result:
    wanted = chosen(entries, [result], everything=False)
    layers = {
        diff_id: Piece(Descriptor(media_type=media_types.OCI_LAYER, digest=diff_id, size=0), _none)
        for diff_id in dict.fromkeys(e.layer for e in wanted.values() if e.layer)
    }
    document: dict[str, Any] = msgspec.json.decode(result.config)
    document[INLINE_KEY] = b64encode(cache_config.encode(wanted, layers)).decode()
    config = msgspec.json.encode(document, order="deterministic")
    return msgspec.structs.replace(result, config=config)


def _none() -> Any:
    raise AssertionError("the layers of an inline cache are those of the image")


def chosen(entries: Entries, results: Sequence[Result], *, everything: bool) -> Entries:
    """The steps to export: all, or those whose layers are in a result or that have none."""
    kept = {"", *(layer for result in results for layer in result.layers)}
    return {key: entry for key, entry in entries.items() if everything or entry.layer in kept}


class CacheExporter:
    """Sends a build's cache away."""

    def __init__(self, room: BuildRoom, transfer: MountTransfer) -> None:
        self._room = room
        self._transfer = transfer

    @property
    def _images(self) -> ImageExporter:
        return self._room.parts.images.exporter

    async def run(
        self, export: CacheExport, number: int, entries: Entries, report: Report
    ) -> dict[str, str]:
        """One export; what is said of it. A failure is only warned of with ``ignore-error``."""
        try:
            return await self._send(export, number, entries, report)
        except KetchError as error:
            if not export.ignore_error:
                raise
            report.warn(f"the cache was not exported: {error}")
            return {}

    async def _send(
        self, export: CacheExport, number: int, entries: Entries, report: Report
    ) -> dict[str, str]:
        form = Form(export.compression, export.level, export.recompress)
        with self._images.lease() as lease:
            mounts = await self._transfer.pack(export, lease, report)
            tree = await self._images.made(
                form, lease, lambda maker: _tree(maker, entries, mounts, export.as_image)
            )
            if export.type == LOCAL:
                await self._to_client(tree, export, number)
            else:
                await self._push(tree, export, report)
        return {"cache.manifest": msgspec.json.encode(tree.root).decode()}

    async def _to_client(self, tree: ImageTree, export: CacheExport, number: int) -> None:
        ref = {"org.opencontainers.image.ref.name": export.tag}
        layout = TreeLayout(tree, described=ref)
        await self._room.offers.keep(number, export.store, layout, self._room.directory)

    async def _push(self, tree: ImageTree, export: CacheExport, report: Report) -> None:
        name = references.parse(export.ref).tagged()
        auth = await self._room.account(name)

        emit = reported(report, name)
        await self._images.push(tree, name, auth, emit, insecure=export.insecure)


def _tree(
    maker: TreeMaker, entries: Entries, mounts: Sequence[Packed], as_image: bool
) -> ImageTree:
    layers = dict.fromkeys(entry.layer for entry in entries.values() if entry.layer)
    pieces = {diff_id: maker.layer(diff_id) for diff_id in layers}
    config = data_piece(MEDIA_TYPE, cache_config.encode(entries, pieces, mounts))
    blobs = {p.descriptor.digest: p for p in (*pieces.values(), *(m.piece for m in mounts))}
    described = [piece.descriptor for piece in blobs.values()]
    if as_image:
        kind = media_types.OCI_MANIFEST
        data = msgspec.json.encode(
            Manifest(schema_version=2, media_type=kind, config=config.descriptor, layers=described)
        )
    else:
        kind = media_types.OCI_INDEX
        manifests = [*described, config.descriptor]
        data = msgspec.json.encode(Index(schema_version=2, media_type=kind, manifests=manifests))
    root = Descriptor(media_type=kind, digest=of(data), size=len(data))
    return ImageTree(root, ((root, data),), (*blobs.values(), config), ())
