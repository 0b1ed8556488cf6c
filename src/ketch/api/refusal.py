"""Saying no by name: an option that ketch does not honour is never ignored in silence."""

from __future__ import annotations

from collections.abc import Iterable

from ketch.errors import InvalidParameter


def refuse_fields(body: object, where: str, names: Iterable[str]) -> None:
    """Raise for the first of ``names`` that has a value; null, zero and empty mean not asked for.

    ``InvalidParameter`` (400), not ``Unsupported`` (501): it is the request that has to change,
    and a client must not read it as a fault of the server.
    """
    for name in names:
        if getattr(body, name):
            raise refused(f"{where}.{name}")


def refused(option: str) -> InvalidParameter:
    """The error for an option."""
    return InvalidParameter(f"{option} is not supported by ketch: leave it out")
