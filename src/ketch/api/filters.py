"""The ``filters`` query parameter: JSON in two historical forms."""

from __future__ import annotations

import msgspec

from ketch.api import times
from ketch.engine.filters import Filters
from ketch.errors import InvalidParameter

_LIMIT = 64 * 1024


def keys(words: str) -> frozenset[str]:
    """The keys that a route takes, separated by spaces."""
    return frozenset(words.split())


def parse(text: str, allowed: frozenset[str] | None = None) -> Filters:
    """Read ``{"k": ["v"]}`` or the old ``{"k": {"v": true}}``.

    With ``allowed``, any other key raises ``InvalidParameter``; without, unknown keys are kept
    for the caller to ignore (events does).
    """
    if not text:
        return {}
    if len(text) > _LIMIT:
        raise InvalidParameter(f"invalid filter: longer than {_LIMIT} bytes")
    raw = _decode(text)
    for key in raw:
        if allowed is not None and key not in allowed:
            raise InvalidParameter(f"invalid filter '{key}'")
    return {key: _values(value) for key, value in raw.items()}


def _decode(text: str) -> dict[str, list[str] | dict[str, bool]]:
    try:
        return (
            msgspec.json.decode(
                text.encode(), type=dict[str, list[str] | dict[str, bool] | None] | None
            )
            or {}
        )
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidParameter(
            f'invalid filter: {error}; it has the form {{"key":["value"]}}'
        ) from None


def _values(value: list[str] | dict[str, bool] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list):
        return tuple(value)
    return tuple(word for word, wanted in value.items() if wanted)


def flag(filters: Filters, key: str, default: bool = False) -> bool:
    """A filter that is a switch (``dangling=true``)."""
    values = filters.get(key)
    if not values:
        return default
    words = {value.lower() for value in values}
    if words <= {"1", "true"}:
        return True
    if words <= {"0", "false"}:
        return False
    raise InvalidParameter(f"invalid filter '{key}={values[0]}': it is true or false")


def resolve_until(filters: Filters, key: str = "until") -> Filters:
    """With ``until`` (or ``key``) as ns since the epoch, in decimal, however it was written."""
    if key not in filters:
        return filters
    instants = tuple(str(times.parse(text, key)) for text in filters[key])
    return {**filters, key: instants}
