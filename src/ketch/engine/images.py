"""Images: pull, push, build results, archives, names, removal.

An image is a config blob (its digest is the image's ID) over layers of the snapshotter. Records and
names live in SQLite and are read from memory; blobs in the content store. A *ref* is a name
(``busybox``, ``host:5000/x:1``, ``x@sha256:…``), a full ID with or without ``sha256:``, or a prefix
of an ID that only one image has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable

from ketch.engine.image_values import (
    Credentials,
    HistoryLine,
    ImageDetails,
    ImagePruneReport,
    ImageSummary,
    ImportOptions,
    NewImage,
    Removed,
)
from ketch.engine.model import CommitOptions, Filters, ImageRecord, Progress
from ketch.oci.image import ImageConfig


class Images:
    """See the module's docstring. Refs that name nothing raise ``NotFound``."""

    # looking up: no I/O, safe on the event loop

    def resolve(self, ref: str) -> ImageRecord:
        """The image of a ref; ``NotFound("No such image: x:latest")``, ``InvalidParameter``."""
        raise NotImplementedError

    def config(self, image_id: str) -> ImageConfig:
        """The parsed configuration of a full ID (one small file is read, then remembered)."""
        raise NotImplementedError

    def config_blob(self, image_id: str) -> bytes:
        """The configuration byte for byte."""
        raise NotImplementedError

    def records(self) -> list[ImageRecord]:
        """Every image, newest first."""
        raise NotImplementedError

    async def list(
        self, filters: Filters, *, all: bool = False, shared_size: bool = False
    ) -> list[ImageSummary]:
        """Images for ``docker images``, newest first. Filters: dangling, label, before, since,
        reference, until; another key raises ``InvalidParameter``. Without ``all`` untagged images
        with children are left out."""
        raise NotImplementedError

    async def inspect(self, ref: str) -> ImageDetails:
        """Everything about one image."""
        raise NotImplementedError

    async def history(self, ref: str) -> list[HistoryLine]:
        """The steps of an image, newest first."""
        raise NotImplementedError

    def layers_size(self) -> int:
        """Bytes of all stored layers, each counted once."""
        raise NotImplementedError

    # registries

    def pull(
        self, reference: str, *, platform: str = "", auth: Credentials | None = None
    ) -> AsyncIterator[Progress]:
        """Pull; an async generator. What is wrong before the first line is raised by its first
        ``__anext__``, what fails later by a later one. Closing it cancels; partial downloads are
        resumed by the next pull."""
        raise NotImplementedError

    def push(self, reference: str, *, auth: Credentials | None = None) -> AsyncIterator[Progress]:
        """Push; an async generator like ``pull``."""
        raise NotImplementedError

    async def log_in(self, server: str, auth: Credentials) -> str:
        """Check credentials against a registry; returns an identity token or "".

        Raises ``Unauthorized``."""
        raise NotImplementedError

    # making

    async def create(self, image: NewImage) -> ImageRecord:
        """Store an image of layers that are there (builder, commit). Durable when it returns."""
        raise NotImplementedError

    async def import_(
        self, stream: AsyncIterator[bytes], options: ImportOptions
    ) -> AsyncIterator[Progress]:
        """Make an image of a root file system's tar (plain or compressed); last status = its ID."""
        raise NotImplementedError
        yield Progress()

    async def commit(
        self, config: ImageConfig, layers: tuple[str, ...], options: CommitOptions
    ) -> ImageRecord:
        """Make an image of a container's layers; see ``image_commit``."""
        raise NotImplementedError

    def load(self, stream: AsyncIterator[bytes]) -> AsyncIterator[Progress]:
        """Load a Docker archive (old or new form) or an OCI layout, plain or compressed; an async
        generator whose ``stream`` lines say ``Loaded image: x:1``."""
        raise NotImplementedError

    async def save(self, refs: tuple[str, ...]) -> AsyncIterator[bytes]:
        """A Docker archive that is an OCI layout too. Awaiting it checks the refs, iterating reads;
        what is read is protected from removal until the iterator is closed."""
        raise NotImplementedError

    # names and removal

    async def tag(self, ref: str, target: str) -> None:
        """Give an image one more name; a tag that another image had moves."""
        raise NotImplementedError

    async def remove(
        self, ref: str, *, force: bool = False, prune: bool = True
    ) -> tuple[Removed, ...]:
        """Remove a name or an image by Docker's rules; raises ``Conflict`` in Docker's words.

        ``prune`` takes untagged parents away too."""
        raise NotImplementedError

    async def prune(self, filters: Filters) -> ImagePruneReport:
        """Remove images that no container uses: untagged ones, or with ``dangling=false`` all."""
        raise NotImplementedError

    def keep_layers(self, roots: Callable[[], Iterable[str]]) -> None:
        """Register more diff IDs that are never collected (containers, build cache)."""
        raise NotImplementedError

    async def collect_garbage(self) -> int:
        """Remove layers and blobs that nothing names; returns the bytes of layers freed."""
        raise NotImplementedError
