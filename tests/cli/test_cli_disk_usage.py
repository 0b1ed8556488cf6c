"""Order of the rows of ``ketch system df -v``."""

from __future__ import annotations

from ketch.cli import df


def record(name: str, used: str | None) -> dict[str, object]:
    """A record of the build cache as the API shows it."""
    return {"ID": name, "Type": "regular", "Size": 1, "LastUsedAt": used}


def test_cache_records_stand_in_the_order_of_docker() -> None:
    records = [
        record("d", "2026-11-28T10:00:05.12Z"),
        record("c", "2026-11-28T10:00:05.1Z"),
        record("b", "2026-11-28T10:00:05.1Z"),
        record("a", "2026-11-28T10:00:05Z"),
        record("z", None),
    ]
    rows = df.details({"BuildCache": records}, whole=True)["BuildCache"]
    assert [row["ID"] for row in rows] == ["z", "a", "b", "c", "d"]
