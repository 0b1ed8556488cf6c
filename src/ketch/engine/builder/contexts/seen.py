"""Small contexts that came before: nobody has to read the same bytes twice.

What a worker says of an archive (``ketch.build.tasks.context_image.receive``) follows from its
bytes and from where its Dockerfile is. A build that finds every step in the cache asks for no more
than that, so one that is sent the very bytes of an earlier build needs no worker; the bytes wait
here until a step wants files.
"""

from __future__ import annotations

import hashlib
from typing import Any

LARGEST = 256 << 10
"""Bytes of a context that is looked up: larger ones are read by a worker while they arrive."""
_MOST = 64  # answers
_LONGEST = 64 << 10  # characters of an answer's texts
Answer = dict[str, Any]


class SeenContexts:
    """What workers said of the latest small contexts, of all builds; in memory only."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, bytes], Answer] = {}

    def find(self, archive: Archive) -> Answer | None:
        """What was said of the same archive."""
        answer = self._answers.pop(archive.key, None)
        if answer is not None:
            self._answers[archive.key] = answer  # the latest is last
        return answer

    def keep(self, archive: Archive, answer: Answer) -> None:
        """Remember it, and forget what was used longest ago."""
        if len(answer.get("dockerfile", "")) + len(answer.get("ignore", "")) > _LONGEST:
            return
        self._answers[archive.key] = answer
        while len(self._answers) > _MOST:
            del self._answers[next(iter(self._answers))]


class Archive:
    """A whole context as it was received, and where its Dockerfile is."""

    __slots__ = ("data", "dockerfile", "key")

    def __init__(self, data: bytes, dockerfile: str) -> None:
        self.data = data
        self.dockerfile = dockerfile
        self.key = (dockerfile, hashlib.sha256(data).digest())
