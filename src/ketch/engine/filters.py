"""What filters of all kinds of objects have in common (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ketch.engine import patterns
from ketch.errors import InvalidParameter

Filters = dict[str, tuple[str, ...]]
"""Docker's filters: key → values, any of which may match."""


def name_matches(pattern: str, name: str) -> bool:
    """Docker's ``name`` filter: a regular expression found in the name, or a part of it."""
    try:
        return pattern in name or patterns.is_found(pattern, name)
    except InvalidParameter:
        return False


def labels_match(labels: Mapping[str, str], wanted: Iterable[str]) -> bool:
    """Whether ``labels`` has all of ``wanted`` (``key`` or ``key=value``)."""
    for want in wanted:
        key, equals, value = want.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def instant(text: str) -> int:
    """The value of ``until``: ns since the epoch as decimal text (the API makes it of Docker's
    forms). Raises ``InvalidParameter``."""
    try:
        return int(text)
    except ValueError:
        raise InvalidParameter(f"invalid filter 'until={text}': not an instant") from None
