"""Names in archives: from bytes that someone else wrote to components that stay inside the tree."""

from __future__ import annotations

from ketch.errors import InvalidParameter
from ketch.layers.entry import shown

MAX_PATH = 4095
"""Longest path in bytes (PATH_MAX of limits.h, less the NUL)."""
MAX_NAME = 255
"""Longest component in bytes (NAME_MAX)."""
MAX_DEPTH = 256
"""Deepest path in components; the kernel would allow 2048, no real tree has a tenth of ours."""


def components(name: bytes) -> list[bytes]:
    """The components of an entry's name, relative to the root of the tree; empty for the root.

    A leading ``/``, doubled slashes and ``.`` mean nothing. Raises ``InvalidParameter`` for ``..``
    anywhere, NUL bytes, and names that are too long or too deep.
    """
    if len(name) > MAX_PATH:
        raise InvalidParameter(f"entry {shown(name)}: the path is longer than {MAX_PATH} bytes")
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        raise InvalidParameter(f"entry {shown(name)}: '..' would lead out of the tree")
    if b"\0" in name:
        raise InvalidParameter(f"entry {shown(name)}: the name holds a NUL byte")
    if len(parts) > MAX_DEPTH:
        raise InvalidParameter(f"entry {shown(name)}: deeper than {MAX_DEPTH} directories")
    if len(name) > MAX_NAME and any(len(part) > MAX_NAME for part in parts):
        raise InvalidParameter(f"entry {shown(name)}: a name is longer than {MAX_NAME} bytes")
    return parts
