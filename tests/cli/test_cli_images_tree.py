"""ketch images --tree: names, platforms, and who uses them."""

from __future__ import annotations

from typing import Any

import pytest

from ketch.cli import images, images_tree
from ketch.cli.flags import Failure


def manifest(digit: str, architecture: str, **changes: Any) -> dict[str, Any]:
    return {
        "ID": f"sha256:{digit * 64}",
        "Kind": "image",
        "Available": True,
        "Size": {"Content": 1000, "Total": 3000},
        "ImageData": {"Platform": {"os": "linux", "architecture": architecture}, "Containers": []},
        **changes,
    }


def item(digit: str, *tags: str, **changes: Any) -> dict[str, Any]:
    found = {"Id": f"sha256:{digit * 64}", "RepoTags": list(tags), "Size": 5000, "Containers": 0}
    return found | changes


ATTESTATION = manifest("d", "unknown", Kind="attestation")


def test_platforms_and_names() -> None:
    amd64 = manifest("b", "amd64")
    amd64["ImageData"]["Containers"] = ["0123"]
    arm64 = manifest("c", "arm64", Available=False)
    many = item("a", "many:1", "many:latest", Manifests=[amd64, ATTESTATION, arm64])
    plain = item("e", "plain:latest")
    assert images_tree.render([many, plain, item("f")], False) == (
        "IMAGE            ID             DISK USAGE   CONTENT SIZE   EXTRA\n"
        "many:1\n"
        "many:latest      aaaaaaaaaaaa   5kB          2kB            U\n"
        "├─ linux/amd64   bbbbbbbbbbbb   3kB          1kB            U\n"
        "└─ linux/arm64   cccccccccccc   3kB          1kB            not here\n"
        "plain:latest     eeeeeeeeeeee   5kB          0B\n"
        "U: in use by a container\n"
    )


def test_images_without_a_name_are_shown_with_all() -> None:
    assert images_tree.render([item("f")], True).splitlines()[1].startswith("<untagged>   ffffff")


@pytest.mark.parametrize("words", [["-q"], ["--no-trunc"], ["--digests"], ["--format", "json"]])
def test_what_a_tree_does_not_take(words: list[str]) -> None:
    with pytest.raises(Failure, match="is not yet supported with --tree"):
        images.images(None, ["--tree", *words])  # type: ignore[arg-type]
