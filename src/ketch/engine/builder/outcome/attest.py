"""Attestations of a build's images, as manifests beside them in the index (BuildKit's
docs/attestations/attestation-storage.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ketch.build.executor import Tree
from ketch.build.request.attestations import Attestations
from ketch.build.request.epoch import epoch_of, epoch_text
from ketch.build.steps.image_config import timestamp
from ketch.engine.builder.outcome import documents
from ketch.engine.builder.outcome.documents import Predicate
from ketch.engine.images.tree import ImageTree, data_piece
from ketch.oci import media_types
from ketch.oci.descriptor import Descriptor
from ketch.oci.digest import of
from ketch.oci.manifest import Manifest
from ketch.oci.platform import Platform

if TYPE_CHECKING:
    from ketch.engine.builder.outcome.documents import Invocation
    from ketch.engine.builder.outcome.result import Result
    from ketch.engine.builder.outcome.scanner import ImageScanner
    from ketch.engine.builder.room import BuildRoom
    from ketch.oci.reference import Reference

_IN_TOTO = "application/vnd.in-toto+json"
_PREDICATE = "in-toto.io/predicate-type"
_UNKNOWN = Platform(architecture="unknown", os="unknown")


class Attester:
    """Makes the attestations of one build; ``scanner`` is in place of our own."""

    def __init__(
        self,
        room: BuildRoom,
        wanted: Attestations,
        invocation: Invocation,
        scanner: ImageScanner | None,
    ) -> None:
        self._room = room
        self._wanted = wanted
        self._invocation = invocation
        self._scanner = scanner

    async def predicates(self, results: Sequence[Result]) -> list[list[Predicate]]:
        """For each platform what was asked for."""
        return [await self._of(result) for result in results]

    async def _of(self, result: Result) -> list[Predicate]:
        found: list[Predicate] = []
        if self._wanted.sbom and self._scanner is not None:
            found += await self._scanner.predicates(result)
        elif self._wanted.sbom:
            core = Tree("layers", result.layers)
            for name, tree in (("sbom", core), *result.scanned):
                told = await self._sbom(result, name, tree)
                found.append(Predicate(documents.SPDX, told, f"{name}.spdx.json"))
        wanted = self._wanted.provenance
        if wanted is not None:
            told = documents.provenance(wanted, self._invocation)
            found.append(Predicate(documents.SLSA[wanted.version], told, "provenance.json"))
        return found

    async def _sbom(self, result: Result, name: str, tree: Tree) -> dict[str, Any]:
        scanned: dict[str, Any] = {"packages": [], "distribution": "", "unread": []}
        if tree.kind != "layers" or tree.layers:
            scanned = await self._room.parts.launcher.work(
                "ketch.build.tasks.packages:scan", {}, [], await self._room.view(tree)
            )
        epoch = epoch_of(self._room.options.build_args)
        created = timestamp()[:19] + "Z" if epoch is None else epoch_text(epoch)
        return documents.spdx(
            scanned["packages"],
            scanned["distribution"],
            of(result.config) + name.removeprefix("sbom"),
            created,
            scanned["unread"],
        )


def attached(
    trees: Sequence[ImageTree],
    predicates: Sequence[Sequence[Predicate]],
    names: Sequence[Reference],
) -> list[ImageTree]:
    """A manifest for each image's attestations."""
    return [
        _manifest(tree, found, names)
        for tree, found in zip(trees, predicates, strict=True)
        if found
    ]


def _manifest(
    tree: ImageTree, predicates: Sequence[Predicate], names: Sequence[Reference]
) -> ImageTree:
    digest, platform = tree.root.digest, str(tree.root.platform or "")
    urls = [documents.image_url(n.familiar_name, n.tag, platform) for n in names]
    subjects = [(url, digest.partition(":")[2]) for url in urls or ["_"]]
    layers = [
        data_piece(_IN_TOTO, documents.statement(subjects, each), {_PREDICATE: each.kind})
        for each in predicates
    ]
    rootfs = {"type": "layers", "diff_ids": [layer.descriptor.digest for layer in layers]}
    config = data_piece(
        media_types.OCI_CONFIG,
        msgspec.json.encode(
            {"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": rootfs}
        ),
    )
    manifest = Manifest(
        schema_version=2,
        media_type=media_types.OCI_MANIFEST,
        config=config.descriptor,
        layers=[layer.descriptor for layer in layers],
    )
    data = msgspec.json.encode(manifest)
    root = Descriptor(
        media_type=media_types.OCI_MANIFEST,
        digest=of(data),
        size=len(data),
        annotations={
            "vnd.docker.reference.digest": digest,
            "vnd.docker.reference.type": "attestation-manifest",
        },
        platform=_UNKNOWN,
    )
    return ImageTree(root, ((root, data),), (*layers, config), ())
