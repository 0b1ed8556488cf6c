"""``ketch images --tree``: every image with its names, and what its index holds."""

from ketch.cli import table, units
from ketch.cli.flags import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.flags import Parsed

HEADER = ("IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA")
UNTAGGED = "<untagged>"
_LEGEND = "U: in use by a container\n"
_REFUSED = ("quiet", "no-trunc", "digests", "format")


def check(parsed: "Parsed") -> None:
    """Raise ``Failure`` for flags of the list that say nothing about a tree, as docker does."""
    for name in _REFUSED:
        if parsed[name]:
            raise Failure(f"--{name} is not yet supported with --tree")


def render(items: "list[dict[str, Any]]", untagged: bool) -> str:
    """The whole text, from the list with ``Manifests``; images without a name if asked for."""
    rows = [row for item in items if untagged or item.get("RepoTags") for row in _rows(item)]
    legend = _LEGEND if any(row[-1:] == ["U"] for row in rows) else ""
    lines = table.render(HEADER, rows).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines) + legend


def _rows(item: "dict[str, Any]") -> "list[list[str]]":
    """An image's names, the last with its figures, and its platforms."""
    manifests = [each for each in item.get("Manifests") or () if each["Kind"] == "image"]
    names = item.get("RepoTags") or [UNTAGGED]
    content = sum(each["Size"]["Content"] for each in manifests)
    used = item["Containers"] > 0 or any(_users(each) for each in manifests)
    figures = _figures(item["Id"], item["Size"], content, used)
    rows = [[name, *[""] * len(figures)] for name in names[:-1]] + [[names[-1], *figures]]
    for manifest in manifests:
        branch = "└─ " if manifest is manifests[-1] else "├─ "
        size = manifest["Size"]
        sizes = _figures(manifest["ID"], size["Total"], size["Content"], bool(_users(manifest)))
        if not manifest["Available"]:
            sizes[-1] = "not here"
        rows.append([branch + _platform(manifest), *sizes])
    return rows


def _figures(identity: str, total: int, content: int, used: bool) -> "list[str]":
    return [
        units.short_id(identity),
        units.human_size(total),
        units.human_size(content),
        "U" if used else "",
    ]


def _users(manifest: "dict[str, Any]") -> "list[str]":
    return (manifest.get("ImageData") or {}).get("Containers") or []


def _platform(manifest: "dict[str, Any]") -> str:
    """``os/architecture/variant``."""
    platform = manifest["ImageData"]["Platform"]
    parts = (platform.get("os"), platform.get("architecture"), platform.get("variant"))
    return "/".join(part for part in parts if part)
