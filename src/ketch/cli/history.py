"""``ketch history``: how an image was made."""

from ketch.cli import instants, listing, routes, units
from ketch.cli.flags import Flag, count, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.client.api import Client

FLAGS = (
    listing.FORMAT,
    Flag("human", "H", "switch", "Print sizes and dates in human readable format", True),
    listing.NO_TRUNC,
    Flag("platform", help="Show history for the given platform (os[/arch[/variant]])", default="",
         values="platforms"),
    Flag("quiet", "q", "switch", "Only show image IDs"),
)  # fmt: skip
HELP = {"history": ("[OPTIONS] IMAGE", FLAGS)}
LONGEST_COMMAND = 45


def history(client: "Client", argv: "list[str]") -> int:
    """Show how an image was made."""
    parsed = parse(FLAGS, argv)
    count(parsed, "history", 1)
    query: dict[str, Any] = {}
    if parsed["platform"]:
        from ketch.cli.image_names import platform_json

        query["platform"] = platform_json(parsed["platform"])
    human = parsed["human"]
    items = client.call("GET", routes.image(parsed.words[0], "/history"), query)
    rows = [_row(item, parsed["no-trunc"], human) for item in items]
    columns = (
        listing.Column("ID", "IMAGE"),
        listing.Column("CreatedSince", "CREATED" if human else "CREATED AT"),
        listing.Column("CreatedBy", "CREATED BY"),
        listing.Column("Size", "SIZE"),
        listing.Column("Comment", "COMMENT"),
    )
    kind = listing.Kind("*formatter.historyContext", "", {"CreatedAt": "CREATED AT"})
    listing.show(parsed, columns, rows, "ID", kind)
    return 0


def _row(item: "dict[str, Any]", whole: bool, human: bool) -> "dict[str, Any]":
    command = (item["CreatedBy"] or "").replace("\t", " ")
    if not whole and len(command) > LONGEST_COMMAND:
        command = command[: LONGEST_COMMAND - 1] + "…"
    stamp = instants.rfc3339(item["Created"]) if item["Created"] > 0 else ""
    return {
        "ID": item["Id"] if whole else units.short_id(item["Id"]),
        "CreatedAt": stamp,
        "CreatedSince": units.since(item["Created"]) if human else stamp,
        "CreatedBy": command,
        "Size": units.human_size(item["Size"]) if human else str(item["Size"]),
        "Comment": item.get("Comment", ""),
    }
