"""``ketch images``, ``rmi``, ``tag``, ``history`` and ``image prune``."""

import sys

from ketch.cli import listing, units
from ketch.cli.flags import Flag, UsageError, parse
from ketch.errors import KetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.client.api import Client

LIST_FLAGS = (
    *listing.FLAGS,
    Flag("all", "a", "switch", "Show all images"),
    Flag("digests", "", "switch", "Show digests"),
)
REMOVE_FLAGS = (
    Flag("force", "f", "switch", "Force removal of the image"),
    Flag("no-prune", "", "switch", "Do not delete untagged parents"),
)
HISTORY_FLAGS = listing.FLAGS[:3]
PRUNE_FLAGS = (
    Flag("all", "a", "switch", "Remove all unused images, not just dangling ones"),
    Flag("force", "f", "switch", "Do not prompt for confirmation"),
    Flag("filter", "", "list", "Provide filter values"),
)
HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "images": ("[OPTIONS] [REPOSITORY[:TAG]]", LIST_FLAGS),
    "rmi": ("[OPTIONS] IMAGE [IMAGE...]", REMOVE_FLAGS),
    "tag": ("SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", ()),
    "history": ("[OPTIONS] IMAGE", HISTORY_FLAGS),
    "prune": ("[OPTIONS]", PRUNE_FLAGS),
}
NONE = "<none>"


def images(client: "Client", argv: "list[str]") -> int:
    """List images."""
    parsed = parse(LIST_FLAGS, argv)
    if len(parsed.words) > 1:
        raise UsageError("'ketch images' accepts at most 1 argument")
    filters = listing.filters_of(parsed) or {}
    if parsed.words:
        filters["reference"] = [parsed.words[0]]
    query = {"all": parsed["all"], "filters": filters or None}
    rows: list[dict[str, str]] = []
    for item in client.call("GET", "/images/json", query):
        rows.extend(_rows(item, parsed["no-trunc"]))
    columns = [
        listing.Column("Repository", "REPOSITORY"),
        listing.Column("Tag", "TAG"),
        listing.Column("ID", "IMAGE ID"),
        listing.Column("CreatedSince", "CREATED"),
        listing.Column("Size", "SIZE"),
    ]
    if parsed["digests"]:
        columns.insert(2, listing.Column("Digest", "DIGEST"))
    listing.show(parsed, columns, rows, "ID")
    return 0


def _rows(item: "dict[str, Any]", whole: bool) -> "list[dict[str, str]]":
    digests = {
        name: digest
        for name, _, digest in (text.partition("@") for text in item.get("RepoDigests") or ())
    }
    rows = []
    for name in item.get("RepoTags") or [f"{NONE}:{NONE}"]:
        repository, _, tag = name.rpartition(":")
        rows.append(
            {
                "Repository": repository,
                "Tag": tag,
                "Digest": digests.get(repository, NONE),
                "ID": item["Id"] if whole else units.short_id(item["Id"]),
                "CreatedSince": units.since(item["Created"]),
                "CreatedAt": str(item["Created"]),
                "Size": units.human_size(item["Size"]),
            }
        )
    return rows


def rmi(client: "Client", argv: "list[str]") -> int:
    """Remove images; goes on after an error, exit code 1 at the end."""
    parsed = parse(REMOVE_FLAGS, argv)
    if not parsed.words:
        raise UsageError("'ketch rmi' requires at least 1 argument")
    code = 0
    query = {"force": parsed["force"], "noprune": parsed["no-prune"]}
    for name in parsed.words:
        try:
            for item in client.call("DELETE", f"/images/{name}", query):
                for word, value in item.items():
                    sys.stdout.write(f"{word}: {value}\n")
        except KetchError as error:
            sys.stderr.write(f"Error response from daemon: {error}\n")
            code = 1
    return code


def tag(client: "Client", argv: "list[str]") -> int:
    """Give an image one more name."""
    parsed = parse((), argv)
    if len(parsed.words) != 2:
        raise UsageError("'ketch tag' requires 2 arguments")
    source, target = parsed.words
    repository, name = split_tag(target)
    client.call("POST", f"/images/{source}/tag", {"repo": repository, "tag": name})
    return 0


def split_tag(target: str) -> "tuple[str, str]":
    """``host:5000/name:tag`` → (``host:5000/name``, ``tag``); tag is empty when absent."""
    path, slash, last = target.rpartition("/")
    name, _, tag_name = last.partition(":")
    return path + slash + name, tag_name


def history(client: "Client", argv: "list[str]") -> int:
    """Show how an image was made."""
    parsed = parse(HISTORY_FLAGS, argv)
    parsed.values["filter"] = []
    if len(parsed.words) != 1:
        raise UsageError("'ketch history' requires 1 argument")
    whole = parsed["no-trunc"]
    rows = []
    for item in client.call("GET", f"/images/{parsed.words[0]}/history"):
        created_by = item["CreatedBy"].replace("\t", " ")
        rows.append(
            {
                "ID": item["Id"] if whole else units.short_id(item["Id"]),
                "CreatedSince": units.since(item["Created"]),
                "CreatedBy": created_by if whole else created_by[:45],
                "Size": units.human_size(item["Size"]),
                "Comment": item.get("Comment", ""),
            }
        )
    columns = (
        listing.Column("ID", "IMAGE"),
        listing.Column("CreatedSince", "CREATED"),
        listing.Column("CreatedBy", "CREATED BY"),
        listing.Column("Size", "SIZE"),
        listing.Column("Comment", "COMMENT"),
    )
    listing.show(parsed, columns, rows, "ID")
    return 0


def prune(client: "Client", argv: "list[str]") -> int:
    """Remove images that nobody uses."""
    from ketch.cli.confirm import confirmed

    parsed = parse(PRUNE_FLAGS, argv)
    what = "all images without at least one container" if parsed["all"] else "all dangling images"
    if not parsed["force"] and not confirmed(f"WARNING! This will remove {what}."):
        return 1
    filters = listing.filters_of(parsed) or {}
    filters["dangling"] = ["false" if parsed["all"] else "true"]
    answer = client.call("POST", "/images/prune", {"filters": filters})
    for item in answer.get("ImagesDeleted") or ():
        for word, value in item.items():
            sys.stdout.write(f"{word.lower()}: {value}\n")
    sys.stdout.write(
        f"\nTotal reclaimed space: {units.human_size(answer.get('SpaceReclaimed', 0))}\n"
    )
    return 0
