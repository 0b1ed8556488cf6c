"""Base images as BuildKit's clients know them: first "load metadata", then the image's own vertex.

For the builder an image is one step of a stage. Here it is told in two vertices, and once however
many stages begin with it; what a pull says comes in BuildKit's words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.build.progress.events import vertex_digest
from ketch.buildkit.messages.control import StatusVertex
from ketch.protobuf import Timestamp

if TYPE_CHECKING:
    from ketch.build.progress.events import Vertex

_LAYER_WORDS = {"Downloading": "sha256:", "Extracting": "extracting sha256:"}
_PULLED = ("Pulling fs layer", *_LAYER_WORDS)


class BaseImage:
    """One image of a build. ``resolved`` is when it was known what it consists of; 0 before."""

    def __init__(self, vertex: Vertex, began: int) -> None:
        self._vertex = vertex
        self._began = began
        self.resolved = 0
        self.pulled = False

    def asked(self) -> StatusVertex:
        """It is looked for."""
        image, platform = self._vertex.image, self._vertex.platform
        return StatusVertex(
            digest=vertex_digest("metadata", self._vertex.digest, image, platform),
            name=f"[internal] load metadata for {image}",
            started=Timestamp.of(self._began),
        )

    def found(self, at: int, error: str = "") -> StatusVertex:
        """It is known, or is not to be had."""
        self.resolved = at
        told = self.asked()
        told.completed = Timestamp.of(at)
        told.error = error
        return told

    def brought(self) -> StatusVertex:
        """Its layers are being brought."""
        return StatusVertex(
            digest=self._vertex.digest,
            name=self._vertex.name,
            started=Timestamp.of(self.resolved + 1),  # clients sort by it
        )

    def status(self, id: str, text: str) -> str | None:
        """The name of the part that a line of a pull is about; None for what is not told."""
        if text in _PULLED:
            self.pulled = True
        if text in _LAYER_WORDS:
            return f"{_LAYER_WORDS[text]}{id}"
        word, _, digest = text.partition(" ")
        return f"resolve {self._vertex.image}@{digest}" if word == "Digest:" else None
