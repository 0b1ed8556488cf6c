"""Bodies of requests with Docker's names, as typed values; ``None`` stands for null and absence.

They say what JSON is acceptable, nothing else: what it means is for the ``convert_…`` modules.
"""

from typing import Annotated, Any

import msgspec

Int64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Names = list[str] | None
Words = str | list[str] | None
"""Docker's string slice: a single string means a list of one."""
Map = dict[str, str] | None
Set = dict[str, dict[str, Any] | None] | None
"""A set of strings, as Go writes it: ``{"a": {}}``."""


class Body(msgspec.Struct, kw_only=True):
    """Base of every body."""
