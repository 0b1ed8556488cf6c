"""``prune`` of every kind of object, and ``ketch system prune``."""

import sys

from ketch.cli import listing, units
from ketch.cli.confirm import confirmed
from ketch.cli.flag_values import filter_word, size
from ketch.cli.flags import Failure, Flag, count, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

    Filters = dict[str, list[str]]

FORCE = Flag("force", "f", "switch", "Do not prompt for confirmation")


def _filter(example: str) -> Flag:
    return Flag("filter", "", "list", f'Provide filter values (e.g. "{example}")', type="filter",
                convert=filter_word, values="prune-filters")  # fmt: skip


UNTIL = _filter("until=<timestamp>")
CONTAINER_FLAGS = (UNTIL, FORCE)
IMAGE_FLAGS = (
    Flag("all", "a", "switch", "Remove all unused images, not just dangling ones"),
    UNTIL,
    FORCE,
)
VOLUME_FLAGS = (
    Flag("all", "a", "switch", "Remove all unused volumes, not just anonymous ones"),
    _filter("label=<label>"),
    FORCE,
)
BUILDER_FLAGS = (
    Flag("all", "a", "switch", "Remove all unused build cache, not just dangling ones"),
    _filter("until=24h"),
    FORCE,
    Flag("keep-storage", "", "text", "Amount of disk space to keep for cache", 0, type="bytes",
         convert=size),
    Flag("max-used-space", "", "text", "Maximum amount of disk space allowed to keep for cache", 0,
         type="bytes", convert=size),
    Flag("min-free-space", "", "text", "Target amount of free disk space after pruning", 0,
         type="bytes", convert=size),
    Flag("reserved-space", "", "text", "Amount of disk space always allowed to keep for cache", 0,
         type="bytes", convert=size),
)  # fmt: skip
_AMOUNTS = ("max-used-space", "min-free-space", "reserved-space")
SYSTEM_FLAGS = (
    Flag("all", "a", "switch", "Remove all unused images not just dangling ones"),
    _filter("label=<key>=<value>"),
    FORCE,
    Flag("volumes", "", "switch", "Prune anonymous volumes"),
)
HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "containers": ("[OPTIONS]", CONTAINER_FLAGS),
    "images": ("[OPTIONS]", IMAGE_FLAGS),
    "networks": ("[OPTIONS]", CONTAINER_FLAGS),
    "volumes": ("[OPTIONS]", VOLUME_FLAGS),
    "builder": ("[OPTIONS]", BUILDER_FLAGS),
    "system": ("[OPTIONS]", SYSTEM_FLAGS),
}
SURE = "Are you sure you want to continue?"


def containers(client: "Client", argv: "list[str]") -> int:
    """Remove all stopped containers."""
    parsed = parse(CONTAINER_FLAGS, argv)
    count(parsed, "container prune", 0)
    if _agreed(parsed, "WARNING! This will remove all stopped containers.\n"):
        _total(_containers(client, filters_of(parsed)))
    return 0


def images(client: "Client", argv: "list[str]") -> int:
    """Remove images that nobody uses."""
    parsed = parse(IMAGE_FLAGS, argv)
    count(parsed, "image prune", 0)
    kind = "images without at least one container associated to them"
    what = kind if parsed["all"] else "dangling images"
    if _agreed(parsed, f"WARNING! This will remove all {what}.\n"):
        _total(_images(client, filters_of(parsed), parsed["all"]))
    return 0


def networks(client: "Client", argv: "list[str]") -> int:
    """Remove networks that no container uses."""
    parsed = parse(CONTAINER_FLAGS, argv)
    count(parsed, "network prune", 0)
    warning = "WARNING! This will remove all custom networks not used by at least one container.\n"
    if _agreed(parsed, warning):
        _networks(client, filters_of(parsed))
    return 0


def volumes(client: "Client", argv: "list[str]") -> int:
    """Remove volumes that no container uses."""
    parsed = parse(VOLUME_FLAGS, argv)
    count(parsed, "volume prune", 0)
    kind = "all" if parsed["all"] else "anonymous"
    warning = (
        f"WARNING! This will remove {kind} local volumes not used by at least one container.\n"
    )
    filters = filters_of(parsed)
    if parsed["all"]:
        if "all" in filters:
            raise Failure("conflicting options: cannot specify both --all and --filter all=1")
        filters["all"] = ["true"]
    if _agreed(parsed, warning):
        _total(_volumes(client, filters))
    return 0


def builder(client: "Client", argv: "list[str]") -> int:
    """Remove what the builder keeps."""
    parsed = parse(BUILDER_FLAGS, argv)
    count(parsed, "builder prune", 0)
    kind = "all" if parsed["all"] else "all dangling"
    if _agreed(parsed, f"WARNING! This will remove {kind} build cache. "):
        amounts = {name: parsed[name] for name in _AMOUNTS if parsed[name]}
        keep = parsed["keep-storage"]
        if keep:
            amounts.update({"keep-storage": keep, "reserved-space": keep})
        freed = _builder(client, filters_of(parsed), parsed["all"], amounts)
        _total(freed)
    return 0


def system(client: "Client", argv: "list[str]") -> int:
    """Remove everything that is not in use."""
    parsed = parse(SYSTEM_FLAGS, argv)
    count(parsed, "system prune", 0)
    filters = filters_of(parsed)
    if parsed["volumes"] and "until" in filters:
        raise Failure('ERROR: The "until" filter is not supported with "--volumes"')
    if not _agreed(parsed, _system_warning(parsed, filters)):
        return 0
    freed = _containers(client, dict(filters))
    _networks(client, dict(filters))
    if parsed["volumes"]:
        freed += _volumes(client, dict(filters))
    freed += _images(client, dict(filters), parsed["all"])
    kept = {key: value for key, value in filters.items() if key != "label!" and key != "label"}
    freed += _builder(client, kept, parsed["all"], {})
    _total(freed)
    return 0


def _system_warning(parsed: "Parsed", filters: "Filters") -> str:
    lines = ["all stopped containers", "all networks not used by at least one container"]
    if parsed["volumes"]:
        lines.append("all anonymous volumes not used by at least one container")
    if parsed["all"]:
        lines.append("all images without at least one container associated to them")
    else:
        lines.append("all dangling images")
    lines.append("all build cache" if parsed["all"] else "unused build cache")
    text = "WARNING! This will remove:\n" + "".join(f"  - {line}\n" for line in lines)
    if filters:
        words = sorted(f"{key}={value}" for key, values in filters.items() for value in values)
        text += "\n  Items to be pruned will be filtered with:\n"
        text += "".join(f"  - {word}\n" for word in words)
    return text + "\n"


def _agreed(parsed: "Parsed", warning: str) -> bool:
    return parsed["force"] or confirmed(warning + SURE)


def filters_of(parsed: "Parsed") -> "Filters":
    """``--filter`` and ``pruneFilters`` of config.json, unless the flag contradicts them."""
    from ketch.client import config_file

    filters = listing.filters_of(parsed) or {}
    for word in config_file.load().get("pruneFilters") or ():
        key, _, value = str(word).partition("=")
        opposite = key[:-1] if key.endswith("!") else key + "!"
        if value not in filters.get(opposite, ()):
            filters.setdefault(key, []).append(value)
    return filters


def _containers(client: "Client", filters: "Filters") -> int:
    answer = client.call("POST", "/containers/prune", {"filters": filters or None})
    _section("Deleted Containers:", answer.get("ContainersDeleted"))
    return int(answer.get("SpaceReclaimed", 0))


def _networks(client: "Client", filters: "Filters") -> None:
    answer = client.call("POST", "/networks/prune", {"filters": filters or None})
    _section("Deleted Networks:", answer.get("NetworksDeleted"))


def _volumes(client: "Client", filters: "Filters") -> int:
    answer = client.call("POST", "/volumes/prune", {"filters": filters or None})
    _section("Deleted Volumes:", answer.get("VolumesDeleted"))
    return int(answer.get("SpaceReclaimed", 0))


def _images(client: "Client", filters: "Filters", everything: bool) -> int:
    filters["dangling"] = ["false" if everything else "true"]
    answer = client.call("POST", "/images/prune", {"filters": filters})
    lines = [
        f"{word.lower()}: {value}"
        for item in answer.get("ImagesDeleted") or ()
        for word, value in item.items()
        if value
    ]
    _section("Deleted Images:", lines)
    return int(answer.get("SpaceReclaimed", 0))


def _builder(
    client: "Client", filters: "Filters", everything: bool, amounts: "dict[str, int]"
) -> int:
    query: dict[str, Any] = {"all": everything, "filters": filters or None, **amounts}
    answer = client.call("POST", "/build/prune", query) or {}
    _section("Deleted build cache objects:", answer.get("CachesDeleted"))
    return int(answer.get("SpaceReclaimed", 0))


def _section(title: str, lines: "list[str] | None") -> None:
    if lines:
        sys.stdout.write(f"{title}\n" + "".join(f"{line}\n" for line in lines) + "\n")
        sys.stdout.flush()


def _total(freed: int) -> None:
    sys.stdout.write(f"Total reclaimed space: {units.human_size(freed, 4)}\n")
