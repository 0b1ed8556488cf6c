"""``ketch system df``: disk space by kind of object."""

import sys

from ketch.cli import images, instants, listing, ps, table, units, volume
from ketch.cli.flags import Failure, Flag, count, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.client.api import Client

FLAGS = (
    listing.FORMAT,
    Flag("verbose", "v", "switch", "Show detailed information on space usage"),
)
HELP = {"df": ("[OPTIONS]", FLAGS)}
COLUMNS = (
    listing.Column("Type", "TYPE"),
    listing.Column("TotalCount", "TOTAL"),
    listing.Column("Active", "ACTIVE"),
    listing.Column("Size", "SIZE"),
    listing.Column("Reclaimable", "RECLAIMABLE"),
)
IMAGE_COLUMNS = (
    ("Repository", "REPOSITORY"), ("Tag", "TAG"), ("ID", "IMAGE ID"), ("CreatedSince", "CREATED"),
    ("Size", "SIZE"), ("SharedSize", "SHARED SIZE"), ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
)  # fmt: skip
CONTAINER_COLUMNS = (
    ("ID", "CONTAINER ID"), ("Image", "IMAGE"), ("Command", "COMMAND"),
    ("LocalVolumes", "LOCAL VOLUMES"), ("Size", "SIZE"), ("RunningFor", "CREATED"),
    ("Status", "STATUS"), ("Names", "NAMES"),
)  # fmt: skip
VOLUME_COLUMNS = (("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE"))
CACHE_COLUMNS = (
    ("ID", "CACHE ID"), ("CacheType", "CACHE TYPE"), ("Size", "SIZE"), ("CreatedSince", "CREATED"),
    ("LastUsedSince", "LAST USED"), ("UsageCount", "USAGE"), ("Shared", "SHARED"),
)  # fmt: skip


def df(client: "Client", argv: "list[str]") -> int:
    """Disk space by kind of object; with ``-v`` object by object."""
    parsed = parse(FLAGS, argv)
    count(parsed, "system df", 0)
    answer = client.call("GET", "/system/df")
    if not parsed["verbose"]:
        listing.show(parsed, COLUMNS, summary(answer), "Type", listing.Kind("*formatter.row"))
        return 0
    plain = parsed["format"] in ("", None, "table")
    objects = details(answer, whole=not plain)
    if plain:
        own = units.human_size(_own(answer.get("BuildCache") or []), 4)
        sys.stdout.write(_sections(objects, own))
        return 0
    from ketch.cli import template

    if parsed["format"].startswith("table"):
        raise Failure("--verbose takes json or a template without table for --format")
    ordered = {
        kind: [{name: row[name] for name in sorted(row)} for row in rows]
        for kind, rows in objects.items()
    }
    if parsed["format"] == "json":
        sys.stdout.write(template.json_line(ordered))
    else:
        sys.stdout.write(template.expand(parsed["format"], ordered))
    return 0


def summary(answer: "dict[str, Any]") -> "list[dict[str, Any]]":
    """One row for each kind of object."""
    pictures, containers = answer.get("Images") or [], answer.get("Containers") or []
    volumes, cache = answer.get("Volumes") or [], answer.get("BuildCache") or []
    layers = int(answer.get("LayersSize") or 0)
    used = [image for image in pictures if image.get("Containers", 0) > 0]
    kept = sum(i["Size"] - max(i.get("SharedSize", 0), 0) for i in used if i["Size"] >= 0)
    running = [c for c in containers if c["State"] in ("running", "paused", "restarting")]
    bound = [v for v in volumes if _references(v) > 0]
    return [
        _row("Images", (len(pictures), len(used)), layers, layers - kept),
        _row(
            "Containers",
            (len(containers), len(running)),
            _sum(containers, "SizeRw"),
            _sum(containers, "SizeRw") - _sum(running, "SizeRw"),
        ),
        _row(
            "Local Volumes",
            (len(volumes), len(bound)),
            sum(map(_usage, volumes)),
            sum(_usage(v) for v in volumes if _references(v) <= 0),
        ),
        _row(
            "Build Cache",
            (len(cache), sum(1 for c in cache if c.get("InUse"))),
            _own(cache),
            sum(c["Size"] for c in cache if not c.get("InUse") and not c.get("Shared")),
        ),
    ]


def _sum(items: "list[dict[str, Any]]", key: str) -> int:
    return sum(int(item.get(key) or 0) for item in items)


def _own(cache: "list[dict[str, Any]]") -> int:
    """Bytes of the build cache that no image shares."""
    return _sum([entry for entry in cache if not entry.get("Shared")], "Size")


def _references(item: "dict[str, Any]") -> int:
    return int((item.get("UsageData") or {}).get("RefCount", 0))


def _usage(item: "dict[str, Any]") -> int:
    return max(int((item.get("UsageData") or {}).get("Size", 0)), 0)


def _row(name: str, counts: "tuple[int, int]", size: int, free: int) -> "dict[str, Any]":
    free = max(free, 0)
    share = f" ({100 * free // size}%)" if size > 0 else ""
    return {
        "Type": name,
        "TotalCount": str(counts[0]),
        "Active": str(counts[1]),
        "Size": units.human_size(size, 4),
        "Reclaimable": units.human_size(free, 4) + (share if name != "Build Cache" else ""),
    }


def details(answer: "dict[str, Any]", *, whole: bool) -> "dict[str, list[dict[str, Any]]]":
    """The rows of ``-v``, by kind; Docker's names."""
    pictures = []
    for item in answer.get("Images") or ():  # under its first tag, whatever digests it has
        tags = item.get("RepoTags") or [f"{images.NONE}:{images.NONE}"]
        repository, _, tag = tags[0].rpartition(":")
        pictures.append(images.row(item, whole, repository, tag, "" if whole else images.NONE))
    containers = [ps.row(item, whole) for item in answer.get("Containers") or ()]
    cache = sorted(answer.get("BuildCache") or (), key=_last_used)
    for row in containers:
        row["Size"] = row["Size"].partition(" ")[0]
    return {
        "Images": pictures,
        "Containers": containers,
        "Volumes": [volume.row(item) for item in answer.get("Volumes") or ()],
        "BuildCache": [_cache_row(item, whole) for item in cache],
    }


def _last_used(item: "dict[str, Any]") -> "tuple[tuple[int, int], str]":
    """Docker's order of cache records: never used, then by time and ID."""
    used = item.get("LastUsedAt")
    return (instants.split(used) if used else (-(1 << 63), 0), item["ID"])


def _cache_row(item: "dict[str, Any]", whole: bool) -> "dict[str, Any]":
    created, used = item.get("CreatedAt") or "", item.get("LastUsedAt") or ""
    return {
        "CacheType": item.get("Type", ""),
        "CreatedAt": instants.spelled(created) if created else "",
        "CreatedSince": units.since(instants.split(created)[0]) if created else "",
        "Description": item.get("Description", ""),
        "ID": item["ID"] if whole else units.short_id(item["ID"]),
        "InUse": str(bool(item.get("InUse"))).lower(),
        "LastUsedAt": instants.spelled(used) if used else "",
        "LastUsedSince": units.since(instants.split(used)[0]) if used else "",
        "Parent": item.get("Parent", ""),
        "Shared": str(bool(item.get("Shared"))).lower(),
        "Size": units.human_size(item.get("Size") or 0),
        "UsageCount": str(item.get("UsageCount", 0)),
    }


def _sections(objects: "dict[str, list[dict[str, Any]]]", cached: str) -> str:
    parts = [
        ("Images space usage:", IMAGE_COLUMNS, objects["Images"]),
        ("Containers space usage:", CONTAINER_COLUMNS, objects["Containers"]),
        ("Local Volumes space usage:", VOLUME_COLUMNS, objects["Volumes"]),
        (f"Build cache usage: {cached}", CACHE_COLUMNS, objects["BuildCache"]),
    ]
    return "\n".join(f"{title}\n\n{_table(columns, rows)}" for title, columns, rows in parts)


def _table(columns: "tuple[tuple[str, str], ...]", rows: "list[dict[str, Any]]") -> str:
    cells = [[str(row[field]) for field, _ in columns] for row in rows]
    return table.render([header for _, header in columns], cells)
