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


def test_images_are_shown_under_their_first_tag_alone() -> None:
    digest = "sha256:" + "a" * 64
    picture = {"Id": digest, "Created": 0, "Size": 1, "Containers": 0, "SharedSize": 0}
    pulled = {**picture, "RepoTags": [], "RepoDigests": [f"app@{digest}", f"copy@{digest}"]}
    tagged = {**picture, "RepoTags": ["b:2", "a:1"], "RepoDigests": [f"c@{digest}"]}
    rows = df.details({"Images": [pulled, tagged]}, whole=False)["Images"]
    assert [(row["Repository"], row["Tag"]) for row in rows] == [("<none>", "<none>"), ("b", "2")]
