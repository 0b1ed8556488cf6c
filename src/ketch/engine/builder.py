"""The builder: from a build context and options to an image.

What is asked of the Dockerfile's language and the order of steps is ``ketch.build``'s; the modules
``builder_…`` execute the steps on the engine's rooms.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from ketch.build.options import BuildOptions, BuildOutput
from ketch.engine.model import Filters, PruneReport


class Builder:
    """See the module's docstring."""

    def build(
        self, context: AsyncIterator[bytes], options: BuildOptions
    ) -> AsyncIterator[BuildOutput]:
        """Build; ``context`` is a tar stream (plain, gzip, bzip2, xz or zstd), or a Dockerfile alone.

        An async generator. What is wrong before the first step is raised by its first
        ``__anext__`` (``InvalidParameter`` for the Dockerfile, ``Unsupported`` for an option that
        ketch does not honour); what fails later is its last output, with ``error`` set. Closing it
        (``aclose``) or cancelling its task kills the running step and leaves nothing half-made.
        """
        raise NotImplementedError

    async def prune(self, filters: Filters, *, all: bool = False) -> PruneReport:
        """Forget build cache records; layers that no image holds go with them."""
        raise NotImplementedError
