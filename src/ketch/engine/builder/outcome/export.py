"""What becomes of a build's result: stored, pushed, written into archives, handed to the client."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from ketch.build.progress.meter import Meter
from ketch.build.request import exports as kinds
from ketch.build.request.attestations import Attestations
from ketch.build.request.cache_options import INLINE, CacheExport
from ketch.build.request.exports import Export
from ketch.build.request.offers import EXPORT
from ketch.build.solver import Built, familiar
from ketch.engine.builder.cache.exporting import CacheExporter, chosen, with_inline
from ketch.engine.builder.history.files import KeptFile, kept_files
from ketch.engine.builder.outcome.attest import Attester, attached
from ketch.engine.builder.outcome.documents import Predicate
from ketch.engine.builder.outcome.invocation import ended
from ketch.engine.builder.outcome.result import Result
from ketch.engine.builder.outcome.scanner import ImageScanner
from ketch.engine.builder.outcome.tree import tree_stream
from ketch.engine.images.export import TreeLayout
from ketch.engine.images.tree import Form, ImageTree, TreeImage
from ketch.engine.progress import reported
from ketch.errors import InvalidParameter
from ketch.oci import digest as digests
from ketch.oci import media_types
from ketch.oci import platform as platforms
from ketch.oci import reference as references

if TYPE_CHECKING:
    from ketch.build.progress.events import Report
    from ketch.build.request.options import BuildOptions
    from ketch.engine.builder.outcome.documents import Invocation
    from ketch.engine.builder.room import BuildRoom
    from ketch.engine.builder.steps.executor import BuildExecutor
    from ketch.engine.images.export import ImageExporter
    from ketch.oci.reference import Reference
    from ketch.state.leases import Lease

_TITLES = {
    kinds.IMAGE: "exporting to image",
    kinds.DOCKER: "exporting to docker image format",
    kinds.OCI: "exporting to oci image format",
    kinds.TAR: "exporting to client tarball",
    kinds.LOCAL: "exporting to client directory",
}
Reporting = Callable[[str], "Report"]


class Exporting:
    """The outputs of one build, one after another."""

    def __init__(self, room: BuildRoom, executor: BuildExecutor, invocation: Invocation) -> None:
        self._room = room
        self._invocation = invocation
        self._executor = executor
        self._response: dict[str, str] = {}
        self._scanner: ImageScanner | None = None
        self._several = False  # platforms
        self._attested: list[tuple[Attestations, list[list[Predicate]]]] = []

    @property
    def _images(self) -> ImageExporter:
        return self._room.parts.images.exporter

    async def run(self, results: Sequence[Result], reporting: Reporting) -> Built:
        """All of them; the first failure ends it. The image's ID is "" when none is stored."""
        self._several = len(results) > 1
        built = Built("", ())
        options = self._room.options
        if scanner := options.attestations.scanner:
            self._scanner = ImageScanner(self._room, self._executor, scanner, reporting)
        if _inlines(options):
            results = with_inline(results, self._executor.used)
        exports = options.exports or (Export(),)
        for number, export in enumerate(exports):
            if export.type == kinds.CACHE_ONLY:
                continue
            report = reporting(_TITLES[export.type])
            try:
                found = await self._one(number, export, results, report)
            except BaseException as error:
                report.end(error=str(error) or "canceled")
                raise
            report.end(found.image)
            built = found if found.image else built
        await self._caches(results, len(exports), reporting)
        return msgspec.structs.replace(built, response=self._response)

    async def _caches(self, results: Sequence[Result], first: int, reporting: Reporting) -> None:
        """The cache's exports are numbered after the outputs."""
        exporter = CacheExporter(self._room, self._executor.transfer)
        for number, export in enumerate(self._room.options.cache_exports, first):
            if export.type == INLINE:
                self._tell_of_inline(export, reporting)
                continue
            entries = chosen(self._executor.used, results, everything=export.everything)
            report = reporting(f"exporting cache to {export.ref or export.type}")
            try:
                self._response |= await exporter.run(export, number, entries, report)
            except BaseException as error:
                report.end(error=str(error) or "canceled")
                raise
            report.end()

    def _tell_of_inline(self, export: CacheExport, reporting: Reporting) -> None:
        """What it can't do has no effect in BuildKit either, where nobody is told."""
        exports = self._room.options.exports or (Export(),)
        told = []
        if export.everything:
            told.append(
                "mode=max has no effect: an image has its own layers only, others go to"
                " type=registry or type=local"
            )
        if all(one.type in (kinds.TAR, kinds.LOCAL, kinds.CACHE_ONLY) for one in exports):
            told.append("there is no image among the outputs that it could be in")
        if told:
            report = reporting("exporting inline cache")
            for sentence in told:
                report.warn(f"--cache-to type=inline: {sentence}")
            report.end()

    async def _one(
        self, number: int, export: Export, results: Sequence[Result], report: Report
    ) -> Built:
        if export.type == kinds.IMAGE:
            return await self._image(export, results, report)
        if export.type in (kinds.TAR, kinds.LOCAL):
            if export.split is None and self._room.options.wants_index:
                export = msgspec.structs.replace(export, split=True)
            attested = await self._predicates(export, results)
            pieces = await tree_stream(self._room, results, export, attested)
            unpacked = export.type == kinds.LOCAL
            await self._deliver(number, _metered(pieces, report, unpacked), unpacked=unpacked)
        else:
            await self._archive(number, export, results, report)
        return Built("", ())

    async def _deliver(self, number: int, pieces: AsyncIterator[bytes], *, unpacked: bool) -> None:
        try:
            await self._room.offers.deliver(number, pieces, self._room.directory, unpacked=unpacked)
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]

    # archives

    async def _archive(
        self, number: int, export: Export, results: Sequence[Result], report: Report
    ) -> None:
        docker = export.type == kinds.DOCKER
        with self._images.lease() as lease:
            tree = await self._tree(export, results, lease, report)
            if docker and len(tree.documents) > 1:
                raise InvalidParameter(
                    "the docker output holds one image: attestations need type=oci or type=image"
                )
            names = self._names(export)
            described = export.annotations_of(
                kinds.INDEX_DESCRIPTOR if len(tree.documents) > 1 else kinds.MANIFEST_DESCRIPTOR
            )
            layout = TreeLayout(tree, names, described, docker=docker)
            if export.archive:
                pieces = _metered(await layout.archive(), report)
                await self._deliver(number, pieces, unpacked=False)
            else:
                await self._room.offers.keep(number, EXPORT, layout, self._room.directory)
        self._tell(tree, export)

    async def _tree(
        self, export: Export, results: Sequence[Result], lease: Lease, report: Report
    ) -> ImageTree:
        report.status("", "exporting layers")
        names, oci = self._names(export), self._oci_types(export, report)
        form = Form(export.compression, export.level, export.recompress, oci)
        images = [_tree_image(result, export) for result in results]
        predicates = await self._predicates(export, results)
        tree = await self._images.tree(
            images,
            form,
            lease,
            annotations=export.annotations_of(kinds.INDEX),
            attached=lambda trees: attached(trees, predicates, names),
            index=self._room.options.wants_index,
        )
        if len(tree.documents) == 1 and export.annotations_of(kinds.INDEX_DESCRIPTOR):
            raise InvalidParameter(
                "annotations of an index's descriptor (index-descriptor) need an index: several"
                " platforms, attestations, or annotations of the index itself"
            )
        for text in _made(tree):
            report.status("", text)
        return tree

    def _oci_types(self, export: Export, report: Report) -> bool:
        """Whether the documents have OCI's media types, which some things need."""
        needs = {
            "annotations": bool(export.annotations),
            "zstd": export.compression == kinds.ZSTD,
            "attestations": self._attesting(export) is not None,
        }
        wanted = export.oci_types
        if wanted is False:
            for name in (name for name, needed in needs.items() if needed):
                report.warn(f"oci-mediatypes=false has no effect with {name}")
        return any(needs.values()) or (export.type != kinds.DOCKER if wanted is None else wanted)

    def _attesting(self, export: Export) -> Attestations | None:
        """What is to be attached; what clients ask for by themselves only to what goes to a
        registry, or where an index is made anyway, as in BuildKit's archives."""
        wanted = self._room.options.attestations
        provenance = wanted.provenance
        if provenance is not None and provenance.inline_only:
            apart = self._several or self._room.options.wants_index or wanted.sbom
            holds = export.type in (kinds.IMAGE, kinds.OCI) and apart
            holds = holds or (export.type == kinds.IMAGE and export.push)
            provenance = provenance if holds else None
        wanted = msgspec.structs.replace(wanted, provenance=provenance)
        return wanted if provenance is not None or wanted.sbom else None

    async def _predicates(self, export: Export, results: Sequence[Result]) -> list[list[Predicate]]:
        wanted = self._attesting(export)
        if wanted is None:
            return [[] for _ in results]
        known = next((found for asked, found in self._attested if asked == wanted), None)
        if known is None:
            attester = Attester(self._room, wanted, self._call(), self._scanner)
            known = await attester.predicates(results)
            self._attested.append((wanted, known))  # the same in all outputs
        return known

    def _call(self) -> Invocation:
        return ended(self._invocation, self._room, self._executor.materials)

    def kept(self, results: Sequence[Result], *, stored: bool) -> list[KeptFile]:
        """What the history keeps of the outcome."""
        attested = self._attested[-1][1] if self._attested else ()
        return kept_files(results, attested, self._call(), stored=stored)

    # images

    async def _image(self, export: Export, results: Sequence[Result], report: Report) -> Built:
        names = self._names(export)
        built = Built("", ())
        if export.store:
            built = await self._store(export, _for_host(results), report)
        self._response |= {
            "containerimage.digest": digests.of(results[0].config),
            "containerimage.config.digest": digests.of(results[0].config),
        }
        if names:
            self._response["image.name"] = _joined(names)
        apart = len(results) > 1 or self._room.options.wants_index
        apart = apart or self._attesting(export) is not None
        if export.push or apart or not export.is_plain:
            with self._images.lease() as lease:
                tree = await self._tree(export, results, lease, report)
                self._tell(tree, export)
                if built.image and len(tree.documents) > 1:
                    await self._images.keep(names, tree)
                pushed = names if export.push else []
                for name in pushed:
                    await self._push(export, tree, name, report)
                if built.image:
                    named = names if export.canonical else pushed
                    self._images.remember(built.image, [*named, *self._dangling(export)], tree)
        return built

    async def _store(self, export: Export, result: Result, report: Report) -> Built:
        tags = self._texts(export)
        report.status("", "exporting layers")
        image = await self._executor.commit(result.config, result.layers, result.parent, tags)
        report.status("", f"writing image {image}")
        for name in self._names(export):
            report.status("", f"naming to {name}")
        return Built(image, familiar(tags))

    async def _push(self, export: Export, tree: ImageTree, name: Reference, report: Report) -> None:
        auth = await self._room.account(name)

        target = tree.root.digest if export.by_digest else ""
        report.status("", f"pushing {name}")
        emit = reported(report, name)
        await self._images.push(tree, name, auth, emit, target, insecure=export.insecure)
        report.status("", f"pushing manifest for {name}@{tree.root.digest}")

    def _names(self, export: Export) -> list[Reference]:
        return [references.parse(text).tagged() for text in self._texts(export)]

    def _texts(self, export: Export) -> tuple[str, ...]:
        """Its names as they were given."""
        return export.names or self._room.options.tags

    def _dangling(self, export: Export) -> list[Reference]:
        """The repository of an image that is known by its digest only."""
        without_name = export.dangling and not self._texts(export)
        return [references.parse(export.dangling)] if without_name else []

    def _tell(self, tree: ImageTree, export: Export) -> None:
        """BuildKit's keys of an exporter's answer, for ``--metadata-file``."""
        self._response["containerimage.digest"] = tree.root.digest
        if len(tree.manifests) == 1:
            self._response["containerimage.config.digest"] = tree.manifests[0].config.digest
        else:
            self._response.pop("containerimage.config.digest", None)
        root = tree.root
        if described := export.annotations_of(kinds.INDEX_DESCRIPTOR):
            root = msgspec.structs.replace(
                root, annotations={**(root.annotations or {}), **described}
            )
        self._response["containerimage.descriptor"] = b64encode(msgspec.json.encode(root)).decode()
        if self._texts(export):
            self._response["image.name"] = _joined(self._names(export))
        elif dangling := self._dangling(export):
            named = [name.with_digest(tree.root.digest) for name in dangling]
            self._response["image.name"] = _joined(named)


def _made(tree: ImageTree) -> list[str]:
    """What was made, in BuildKit's words."""
    configs = iter(manifest.config.digest for manifest in tree.manifests)
    found = []
    for described, _ in tree.documents:
        if (described.annotations or {}).get("vnd.docker.reference.type"):
            found.append(f"exporting attestation manifest {described.digest}")
        elif described.media_type in media_types.INDEXES:
            found.append(f"exporting manifest list {described.digest}")
        else:
            found.append(f"exporting manifest {described.digest}")
            found.append(f"exporting config {next(configs, '')}".rstrip())
    return found


async def _metered(
    pieces: AsyncIterator[bytes], report: Report, unpacked: bool = False
) -> AsyncIterator[bytes]:
    """The same, counted on the way to the client."""
    meter = Meter(report, "copying files" if unpacked else "sending tarball")
    try:
        async for piece in pieces:
            meter.add(len(piece))
            yield piece
    finally:
        await pieces.aclose()  # type: ignore[attr-defined]
    meter.end()


def _joined(names: Sequence[Reference]) -> str:
    return ",".join(map(str, names))


def _inlines(options: BuildOptions) -> bool:
    """``--cache-to type=inline``, or the build argument that says the same."""
    asked = options.build_args.get("BUILDKIT_INLINE_CACHE") or "0"
    return asked not in ("0", "false") or any(e.type == INLINE for e in options.cache_exports)


def _for_host(results: Sequence[Result]) -> Result:
    """What containers of this machine are made of: the best for it, or the first."""
    at = platforms.choose([result.platform for result in results], platforms.host())
    return results[at or 0]


def _tree_image(result: Result, export: Export) -> TreeImage:
    platform = str(result.platform)
    return TreeImage(
        config=result.config,
        layers=result.layers,
        platform=result.platform,
        annotations=export.annotations_of(kinds.MANIFEST, platform),
        described=export.annotations_of(kinds.MANIFEST_DESCRIPTOR, platform),
    )
