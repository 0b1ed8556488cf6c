"""Digests: ``algorithm:hex``, the names of all content (OCI image-spec, descriptor.md).

Kept as plain strings everywhere; what comes from outside goes through ``check`` first, so that a
digest may become part of a path.
"""

from __future__ import annotations

import hashlib
import re

from ketch.errors import InvalidParameter

_FORM = re.compile(r"(sha256):[0-9a-f]{64}|(sha512):[0-9a-f]{128}")
_HASHES = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}


def is_digest(text: str) -> bool:
    """Whether ``text`` is a whole digest of an algorithm that ketch knows."""
    return _FORM.fullmatch(text) is not None


def check(text: str) -> str:
    """``text`` itself when it is a digest; raises ``InvalidParameter``."""
    if not is_digest(text):
        raise InvalidParameter(
            f"invalid digest {text[:160]!r}: sha256:<64 hex digits> or sha512:<128> is expected"
        )
    return text


def of(data: bytes, algorithm: str = "sha256") -> str:
    """The digest of bytes."""
    return f"{algorithm}:{_HASHES[algorithm](data).hexdigest()}"


def matches(data: bytes, digest: str) -> bool:
    """Whether ``data`` is the content that ``digest`` names."""
    return of(data, algorithm_of(digest)) == digest


def algorithm_of(digest: str) -> str:
    """``sha256`` of ``sha256:…``."""
    return digest.partition(":")[0]


def hex_of(digest: str) -> str:
    """What stands after the colon."""
    return digest.partition(":")[2]


def short(digest: str) -> str:
    """The first twelve hex digits, as Docker shows them."""
    return hex_of(digest)[:12]


class Hasher:
    """Digest of a stream."""

    def __init__(self, algorithm: str = "sha256") -> None:
        self._algorithm = algorithm
        self._hash = _HASHES[algorithm]()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take more bytes."""
        self._hash.update(data)

    def digest(self) -> str:
        """The digest of all bytes so far."""
        return f"{self._algorithm}:{self._hash.hexdigest()}"
