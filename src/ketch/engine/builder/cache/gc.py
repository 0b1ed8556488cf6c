"""Which records of the build cache are to go: by filters, by age, until there is room.

Filters are Docker's (``build prune --filter``) and, as expressions (``type==regular``), BuildKit's.
Amounts as BuildKit's policies: what was used longest ago goes first, until no more than
``max_used`` is used and ``min_free`` is free; ``reserved`` is never gone below.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from ketch.engine import patterns
from ketch.engine.builder.cache.records import DOWNLOAD, CacheUsage
from ketch.engine.filters import Filters, instant
from ketch.errors import InvalidParameter

KEYS = ("until", "unused-for", "id", "parent", "type", "description", "inuse", "shared", "private")
TYPES = (
    "internal",
    "frontend",
    "source.local",
    "source.git.checkout",
    "exec.cachemount",
    "regular",
    DOWNLOAD,  # ketch's own
)
_EXPRESSION = re.compile(
    r"(id|parents?|type|description|inuse|mutable|immutable|shared|private)(?:(==|!=|~=)(.*))?"
)
_DAY = 86_400 * 1_000_000_000  # ns
OLD = 60 * _DAY  # what was not used for so long goes by itself


class Amounts(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes; 0 is no bound. ``free`` is what the file system has now."""

    reserved: int = 0
    max_used: int = 0
    min_free: int = 0
    free: int = 0

    @property
    def any(self) -> bool:
        """Whether there is a bound at all."""
        return bool(self.reserved or self.max_used or self.min_free)


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What goes by itself: of what the filters let through and nobody used for ``unused_for`` ns,
    so much that the amounts hold; all of it without amounts."""

    filters: Filters = {}
    unused_for: int = 0
    amounts: Amounts = Amounts()


class Collection(msgspec.Struct, frozen=True, kw_only=True):
    """How the cache is kept in bounds: by ``rules``, one after another, or by the usual ones with
    ``amounts``."""

    enabled: bool = True
    amounts: Amounts = Amounts()
    rules: tuple[Rule, ...] | None = None

    def on(self, total: int) -> tuple[Rule, ...]:
        """The rules on a file system of ``total`` bytes."""
        if not self.enabled:
            return ()
        if self.rules is not None:
            return self.rules
        amounts = self.amounts if self.amounts.any else usual(total)
        return Rule(unused_for=OLD), Rule(amounts=amounts)


def usual(total: int) -> Amounts:
    """The bounds that hold without being asked for, of a file system of ``total`` bytes: those of
    BuildKit's own policy (docs.docker.com/build/cache/garbage-collection)."""
    return Amounts(reserved=total // 10, max_used=total * 3 // 4, min_free=total // 5)


def check_filters(filters: Filters) -> None:
    """Raises ``InvalidParameter`` for a filter that there is not."""
    unknown = sorted(set(filters) - set(KEYS))
    if unknown:
        raise InvalidParameter(f"the build cache can't be filtered by {unknown[0]!r}")
    for kind in filters.get("type", ()):
        _check_type(kind)


def matching(
    records: Iterable[CacheUsage], filters: Filters, expressions: Sequence[str] = ()
) -> list[CacheUsage]:
    """The records that all filters let through, and one of the expressions if there are any.

    ``until`` (ns since the epoch) and ``unused-for`` let through what was not used since. Raises
    ``InvalidParameter``.
    """
    parsed = [_parse(text) for text in expressions if text.strip()]
    return [
        record
        for record in records
        if all(_passes(record, key, values) for key, values in filters.items())
        and (not parsed or any(all(_holds(record, *e) for e in one) for one in parsed))
    ]


def _passes(record: CacheUsage, key: str, values: Sequence[str]) -> bool:
    if key in ("until", "unused-for"):
        return all(record.used_at < instant(value) for value in values)
    operator = "~=" if key == "id" else "=="  # as Docker asks BuildKit
    return any(_holds(record, key, operator if value else "", value) for value in values)


def _parse(text: str) -> list[tuple[str, str, str]]:
    """``key==value,key!=value``: all of them (containerd's filters)."""
    found = []
    for word in text.split(","):
        match = _EXPRESSION.fullmatch(word.strip())
        if match is None:
            raise InvalidParameter(f"the filter {word!r} of the build cache is not supported")
        found.append((match[1], match[2] or "", match[3] or ""))
    return found


def _holds(record: CacheUsage, key: str, operator: str, value: str) -> bool:
    if key in ("inuse", "shared", "private", "mutable", "immutable"):
        wanted = value.lower() not in ("false", "0") if operator else True
        has = {
            "inuse": record.in_use,
            "shared": record.shared,
            "private": not record.shared,
            "mutable": record.is_mount,
            "immutable": not record.is_mount,
        }[key]
        return has == (wanted if operator != "!=" else not wanted)
    if key == "type":
        _check_type(value)
    text = {
        "id": record.id,
        "parent": record.parent,
        "parents": record.parent,
        "type": record.type,
        "description": record.description,
    }[key]
    if operator == "~=":
        try:
            return patterns.is_found(value, text)
        except InvalidParameter:
            raise InvalidParameter(f"invalid filter {key}~={value}") from None
    same = text == value
    return same if operator != "!=" else not same


def _check_type(kind: str) -> None:
    if kind not in TYPES:
        raise InvalidParameter(f"invalid filter 'type={kind}': {', '.join(TYPES)}")


def chosen(
    records: Sequence[CacheUsage], candidates: Sequence[CacheUsage], amounts: Amounts
) -> list[CacheUsage]:
    """Of the candidates, those that go: all without bounds, else the least used until it is
    enough. What is in use never goes."""
    free = [record for record in candidates if not record.in_use]
    if not amounts.any:
        return free
    used = _size(records)
    keep = amounts.max_used or (amounts.reserved if not amounts.min_free else used)
    if amounts.min_free > amounts.free:
        keep = min(keep, used - (amounts.min_free - amounts.free))
    keep = max(keep, amounts.reserved)
    holders = Counter(_held(record) for record in records if not record.shared)
    doomed = []
    for record in sorted(free, key=lambda record: record.used_at):
        if used <= keep:
            break
        doomed.append(record)
        if not record.shared:
            holders[_held(record)] -= 1
            if not holders[_held(record)]:
                used -= record.size
    return doomed


def _held(record: CacheUsage) -> str:
    """What takes the room of a record; several may hold one layer."""
    return record.layer or record.key


def _size(records: Iterable[CacheUsage]) -> int:
    """Bytes that only the cache holds; a layer of several records counts once."""
    sizes = {_held(record): record.size for record in records if not record.shared}
    return sum(sizes.values())
