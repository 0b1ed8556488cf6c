"""``ketch images``, ``rmi`` and ``tag``."""

import sys

from ketch.cli import images_tree, instants, listing, routes, units
from ketch.cli.exits import prefix
from ketch.cli.flag_values import filter_word
from ketch.cli.flags import Flag, count, parse
from ketch.cli.image_names import platform_json, split_tag
from ketch.errors import KetchError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ketch.client.api import Client

LIST_FLAGS = (
    Flag("all", "a", "switch", "Show all images (default hides intermediate images)"),
    Flag("digests", "", "switch", "Show digests"),
    Flag("filter", "f", "list", "Filter output based on conditions provided", type="filter",
         convert=filter_word, values="image-filters"),
    listing.FORMAT,
    listing.NO_TRUNC,
    Flag("quiet", "q", "switch", "Only show image IDs"),
    Flag("tree", "", "switch", "List multi-platform images as a tree (EXPERIMENTAL)"),
)  # fmt: skip
REMOVE_FLAGS = (
    Flag("force", "f", "switch", "Force removal of the image"),
    Flag("no-prune", "", "switch", "Do not delete untagged parents"),
    Flag("platform", "", "strings", "Remove only the given platform variant", values="platforms"),
)
HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "images": ("[OPTIONS] [REPOSITORY[:TAG]]", LIST_FLAGS),
    "rmi": ("[OPTIONS] IMAGE [IMAGE...]", REMOVE_FLAGS),
    "tag": ("SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", ()),
}
NONE = "<none>"
HEADERS = {
    "CreatedAt": "CREATED AT", "Containers": "CONTAINERS", "Digest": "DIGEST",
    "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE", "VirtualSize": "SIZE",
}  # fmt: skip
COLUMNS = (
    listing.Column("Repository", "REPOSITORY"),
    listing.Column("Tag", "TAG"),
    listing.Column("ID", "IMAGE ID"),
    listing.Column("CreatedSince", "CREATED"),
    listing.Column("Size", "SIZE"),
)
RAW = (
    "repository: {{.Repository}}\ntag: {{.Tag}}\n{digest}image_id: {{.ID}}\n"
    "created_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n"
)


def images(client: "Client", argv: "list[str]") -> int:
    """List images."""
    parsed = parse(LIST_FLAGS, argv)
    count(parsed, "images", 0, 1)
    if parsed["tree"]:
        images_tree.check(parsed)
    filters = listing.filters_of(parsed) or {}
    if parsed.words:
        filters.setdefault("reference", []).append(parsed.words[0])
    form = parsed["format"] or ""
    query = {
        "all": parsed["all"],
        "filters": filters or None,
        "shared-size": ".SharedSize" in form or ".UniqueSize" in form,
    }
    if parsed["tree"]:
        items = client.call("GET", "/images/json", query | {"manifests": True})
        sys.stdout.write(images_tree.render(items, parsed["all"]))
        return 0
    digests = parsed["digests"] or ".Digest" in form
    whole = parsed["no-trunc"]
    rows = [
        row
        for item in client.call("GET", "/images/json", query)
        for row in rows_of(item, whole, digests)
    ]
    columns = list(COLUMNS)
    if parsed["digests"]:
        columns.insert(2, listing.Column("Digest", "DIGEST"))
    raw = RAW.replace("{digest}", "digest: {{.Digest}}\n" if parsed["digests"] else "")
    kind = listing.Kind("*formatter.imageContext", "imagesFormat", HEADERS, raw)
    if parsed["quiet"]:
        parsed.values["quiet"] = not parsed["format"]
    listing.show(parsed, columns, rows, "ID", kind)
    return 0


def rows_of(item: "dict[str, Any]", whole: bool, digests: bool = False) -> "list[dict[str, Any]]":
    """One row for each name of an image; with ``digests`` for each digest of the name."""
    return [row(item, whole, *names) for names in _names(item, digests)]


def row(
    item: "dict[str, Any]", whole: bool, repository: str, tag: str, digest: str
) -> "dict[str, Any]":
    """What a list says of an image under one of its names."""
    return {
        "Containers": _known(item.get("Containers"), str),
        "CreatedAt": instants.local(item["Created"]) if item["Created"] else "N/A",
        "CreatedSince": units.since(item["Created"]),
        "ID": item["Id"] if whole else units.short_id(item["Id"]),
        "SharedSize": _known(item.get("SharedSize"), lambda size: units.human_size(size, 4)),
        "Size": units.human_size(item["Size"]),
        "UniqueSize": _unique(item),
        "VirtualSize": units.human_size(item["Size"], 4),
        "Repository": repository,
        "Tag": tag,
        "Digest": digest,
    }


def _names(item: "dict[str, Any]", digests: bool) -> "list[tuple[str, str, str]]":
    """(repository, tag, digest) of every name; ``<none>`` for what is missing."""
    known: dict[str, list[str]] = {}
    for text in item.get("RepoDigests") or ():
        name, _, digest = text.partition("@")
        known.setdefault(name, []).append(digest)
    names = []
    tagged = set()
    for text in item.get("RepoTags") or ():
        repository, _, tag = text.rpartition(":")
        tagged.add(repository)
        for digest in (known.get(repository) or [NONE]) if digests else [NONE]:
            names.append((repository, tag, digest))
    for name in sorted(known.keys() - tagged):
        for digest in known[name] if digests else known[name][:1]:
            names.append((name, NONE, digest if digests else NONE))
    return names or [(NONE, NONE, NONE)]


def _known(value: "Any", shown: "Callable[[Any], str]") -> str:
    return "N/A" if value is None or value < 0 else shown(value)


def _unique(item: "dict[str, Any]") -> str:
    shared = item.get("SharedSize")
    if shared is None or shared < 0:
        return "N/A"
    return units.human_size(item["Size"] - shared, 4)


def rmi(client: "Client", argv: "list[str]") -> int:
    """Remove images; goes on after an error, exit code 1 at the end."""
    parsed = parse(REMOVE_FLAGS, argv)
    count(parsed, "rmi", 1, None)
    code = 0
    query: dict[str, Any] = {"force": parsed["force"], "noprune": parsed["no-prune"]}
    if parsed["platform"]:
        query["platforms"] = [platform_json(text) for text in parsed["platform"]]
    for name in parsed.words:
        try:
            for item in client.call("DELETE", routes.image(name), query):
                for word, value in item.items():
                    sys.stdout.write(f"{word}: {value}\n")
        except KetchError as error:
            sys.stdout.flush()
            sys.stderr.write(f"{prefix(error)}{error}\n")
            if not (parsed["force"] and isinstance(error, NotFound)):
                code = 1
    return code


def tag(client: "Client", argv: "list[str]") -> int:
    """Give an image one more name."""
    parsed = parse((), argv)
    count(parsed, "tag", 2)
    source, target = parsed.words
    repository, name = split_tag(target)
    client.call("POST", routes.image(source, "/tag"), {"repo": repository, "tag": name})
    return 0
