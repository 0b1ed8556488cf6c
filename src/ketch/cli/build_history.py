"""``ketch build history``: the builds there were, what they said, where their time went."""

import sys

from ketch.cli import listing, units
from ketch.cli.flags import Failure, Flag, count, parse
from ketch.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.client.api import Client

LIST_FLAGS = (
    listing.FORMAT,
    listing.NO_TRUNC,
    Flag("quiet", "q", "switch", "Only show references"),
)
LOGS_FLAGS = (
    Flag("progress", help="Type of progress output (plain, rawjson)", default="plain",
         values=("plain", "rawjson")),
)  # fmt: skip
SHOW_FLAGS = (
    Flag("output", "o", "text", "Write the picture to a file (.html or .svg) instead of stdout", "",
         values="files"),
    Flag("type", help="Form of the picture (html, svg)", default="", values=("html", "svg")),
)  # fmt: skip
REMOVE_FLAGS = (Flag("all", "", "switch", "Remove all builds that are over"),)
HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "list_": ("[OPTIONS]", LIST_FLAGS),
    "inspect": ("[REF]", (listing.FORMAT,)),
    "logs": ("[OPTIONS] [REF]", LOGS_FLAGS),
    "show": ("[OPTIONS] [REF]", SHOW_FLAGS),
    "remove": ("[OPTIONS] [REF...]", REMOVE_FLAGS),
}
COLUMNS = (
    listing.Column("Ref", "BUILD ID"),
    listing.Column("Name", "NAME"),
    listing.Column("Status", "STATUS"),
    listing.Column("CreatedSince", "CREATED AT"),
    listing.Column("Duration", "DURATION"),
    listing.Column("Cached", "CACHED"),
)


def list_(client: "Client", argv: "list[str]") -> int:
    """List builds, newest first."""
    parsed = parse(LIST_FLAGS, argv)
    count(parsed, "build history ls", 0)
    rows = [_row(item, parsed["no-trunc"]) for item in client.call("GET", "/ketch/builds")]
    kind = listing.Kind("*formatter.buildContext", "", {"CreatedAt": "CREATED AT"})
    listing.show(parsed, COLUMNS, rows, "Ref", kind)
    return 0


def _row(item: "dict[str, Any]", whole: bool) -> "dict[str, Any]":
    return {
        "Ref": item["Ref"] if whole else item["Ref"][:12],
        "Name": item["Name"],
        "Status": item["Status"].capitalize(),
        "CreatedAt": item["StartedAt"],
        "CreatedSince": units.since(item["Started"] // 1_000_000_000),
        "Duration": seconds(item["Duration"] / 1e9) if item["CompletedAt"] else "",
        "Cached": f"{item['CachedSteps']}/{item['Steps']}" if item["CompletedAt"] else "",
        "Steps": item["Steps"],
        "Image": item["Image"],
    }


def seconds(value: float) -> str:
    """A duration for people."""
    if value < 60:
        return f"{value:.1f}s"
    return f"{int(value // 60)}m {int(value % 60):02d}s"


def inspect(client: "Client", argv: "list[str]") -> int:
    """Print one build's record."""
    parsed = parse((listing.FORMAT,), argv)
    count(parsed, "build history inspect", 0, 1)
    record = client.call("GET", _path(parsed.words))
    if parsed["format"]:
        from ketch.cli import template

        sys.stdout.write(template.expand(parsed["format"], record) + "\n")
        return 0
    from ketch.cli import pretty

    sys.stdout.write(pretty.dumps(record) + "\n")
    return 0


def logs(client: "Client", argv: "list[str]") -> int:
    """Print what a build said."""
    parsed = parse(LOGS_FLAGS, argv)
    count(parsed, "build history logs", 0, 1)
    if parsed["progress"] == "rawjson":
        from ketch.cli.build_rawjson import RawJson

        display: Any = RawJson(sys.stdout)
    elif parsed["progress"] == "plain":
        from ketch.cli.build_plain import Plain

        display = Plain(sys.stdout)
    else:
        raise Failure(f"invalid progress {parsed['progress']!r}: use plain or rawjson")
    for event in client.json_lines("GET", _path(parsed.words) + "/events"):
        display.feed(event)
    display.finish()
    return 0


def show(client: "Client", argv: "list[str]") -> int:
    """Draw where a build's time went."""
    parsed = parse(SHOW_FLAGS, argv)
    count(parsed, "build history show", 0, 1)
    path = parsed["output"]
    kind = parsed["type"] or ("svg" if path.endswith(".svg") else "html")
    if kind not in ("html", "svg"):
        raise Failure(f"invalid type {kind!r}: use html or svg")
    from ketch.cli import build_graph
    from ketch.cli.build_steps import everything

    record = client.call("GET", _path(parsed.words))
    steps = everything(client.json_lines("GET", _path([record["Ref"]]) + "/events"))
    if not steps.shown:
        raise Failure(f"build {record['Ref']} has no steps on record: there is nothing to draw")
    picture = build_graph.html(record, steps) if kind == "html" else build_graph.svg(record, steps)
    if not path:
        sys.stdout.write(picture)
        return 0
    with open(path, "w", encoding="utf-8") as file:
        file.write(picture)
    sys.stderr.write(f"{path}\n")
    return 0


def remove(client: "Client", argv: "list[str]") -> int:
    """Forget builds."""
    parsed = parse(REMOVE_FLAGS, argv)
    if parsed["all"]:
        count(parsed, "build history rm", 0)
        refs = client.call("POST", "/ketch/builds/prune")["Deleted"]
        sys.stdout.write("".join(f"{ref}\n" for ref in refs))
        return 0
    count(parsed, "build history rm", 1, 1000)
    for ref in parsed.words:
        client.call("DELETE", _path([ref]))
        sys.stdout.write(f"{ref}\n")
    return 0


def _path(words: "list[str]") -> str:
    return f"/ketch/builds/{quote(words[0] if words else '^0')}"
