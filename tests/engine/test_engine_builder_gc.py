"""Which records of the build cache go."""

from __future__ import annotations

import pytest

from ketch.engine.builder.cache.gc import Amounts, chosen, matching, usual
from ketch.engine.builder.cache.records import DOWNLOAD, MOUNT, CacheUsage
from ketch.errors import InvalidParameter


def record(key: str, size: int, used: int, **more: object) -> CacheUsage:
    return CacheUsage(key, f"layer-{key}", size, bool(more.pop("shared", False)), used)._replace(
        **more  # type: ignore[arg-type]
    )


OLD = record("a", 10, 1, description="RUN a")
MIDDLE, NEW = record("b", 20, 2, parent="a"), record("c", 30, 3)
HELD = record("d", 40, 0, in_use=True, type=MOUNT)
SHARED = record("e", 50, 0, shared=True)
ALL = [NEW, HELD, OLD, SHARED, MIDDLE]


def keys(records: list[CacheUsage]) -> str:
    return "".join(sorted(record.key for record in records))


def test_everything_but_what_is_in_use() -> None:
    assert keys(chosen(ALL, ALL, Amounts())) == "abce"


@pytest.mark.parametrize(
    ("amounts", "gone"),
    [
        (Amounts(max_used=100), ""),
        (Amounts(max_used=95), "ae"),  # what is shared frees nothing, but is the oldest
        (Amounts(max_used=50), "abce"),
        (Amounts(reserved=90), "ae"),
        (Amounts(max_used=50, reserved=90), "ae"),
        (Amounts(min_free=30, free=20), "ae"),
        (Amounts(min_free=30, free=40), ""),
        (Amounts(min_free=10_000, free=20, reserved=85), "abe"),
    ],
)
def test_the_least_used_until_it_is_enough(amounts: Amounts, gone: str) -> None:
    assert keys(chosen(ALL, ALL, amounts)) == gone


def test_downloads_are_a_kind_of_their_own() -> None:
    found = record("f", 1, 1, type=DOWNLOAD)
    assert matching([*ALL, found], {"type": ("source.http",)}, []) == [found]


def test_a_layer_of_several_records_counts_once() -> None:
    twins = [OLD, OLD._replace(key="z", used_at=9)]
    assert chosen(twins, twins, Amounts(max_used=10)) == []


def test_a_full_cache_is_looked_at_once() -> None:
    """20,000 records are what the cache holds at most; the daemon does nothing else meanwhile."""
    looks = 0

    class Counted(CacheUsage):
        @property
        def layer(self) -> str:  # type: ignore[override]
            nonlocal looks
            looks += 1
            return self[1]

    records = [Counted(str(n), f"layer-{n}", 1, False, n) for n in range(20_000)]
    gone = chosen(records, records, Amounts(max_used=5_000))
    assert [record.key for record in gone] == [str(n) for n in range(15_000)]
    assert looks < 10 * len(records)


@pytest.mark.parametrize(
    ("filters", "expressions", "found"),
    [
        ({"until": ("3",)}, [], "abde"),
        ({"unused-for": ("2",)}, [], "ade"),
        ({"id": ("b", "c")}, [], "bc"),
        ({"id": ("^[ab]",)}, [], "ab"),
        ({"description": ("RUN",)}, [], ""),  # all of it, or with ~= a part
        ({"description": ("RUN a",)}, [], "a"),
        ({}, ["description~=^RUN"], "a"),
        ({"parent": ("a",)}, [], "b"),
        ({}, ["parents==a"], "b"),
        ({"type": (MOUNT,)}, [], "d"),
        ({"inuse": ("",)}, [], "d"),
        ({"shared": ("",), "until": ("9",)}, [], "e"),
        ({"private": ("true",)}, [], "abcd"),
        ({}, ["type==exec.cachemount", "id==a"], "ad"),
        ({}, ["type==regular,shared==false"], "abc"),
        ({}, ["type!=regular"], "d"),
        ({}, ["id~=^[ab]$"], "ab"),
    ],
)
def test_filters(filters: dict[str, tuple[str, ...]], expressions: list[str], found: str) -> None:
    assert keys(matching(ALL, filters, expressions)) == found


@pytest.mark.parametrize(
    ("filters", "expressions"),
    [
        ({"until": ("noon",)}, []),
        ({"type": ("bogus",)}, []),
        ({}, ["bogus==1"]),
        ({}, ["id~=("]),
    ],
)
def test_what_makes_no_sense(filters: dict[str, tuple[str, ...]], expressions: list[str]) -> None:
    with pytest.raises(InvalidParameter):
        matching(ALL, filters, expressions)


def test_usual_bounds() -> None:
    assert usual(1000) == Amounts(reserved=100, max_used=750, min_free=200)
