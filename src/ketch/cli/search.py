"""``ketch search``: what a registry's index finds for a word."""

import sys

from ketch.cli import credentials, listing
from ketch.cli.flags import Flag, UsageError, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.client.api import Client

FLAGS = (
    Flag("filter", "f", "list", "Filter output (is-official=true, stars=3)", type="filter"),
    Flag("format", help="Pretty-print search using a template"),
    Flag("limit", "", "number", "Max number of search results", 0),
    Flag("no-trunc", "", "switch", "Don't truncate output"),
)
HELP = {"search": ("[OPTIONS] TERM", FLAGS)}
COLUMNS = (
    listing.Column("Name", "NAME"),
    listing.Column("Description", "DESCRIPTION"),
    listing.Column("StarCount", "STARS"),
    listing.Column("IsOfficial", "OFFICIAL"),
)
WIDTH = 45


def search(client: "Client", argv: "list[str]") -> int:
    """Search a registry for images."""
    parsed = parse(FLAGS, argv)
    if len(parsed.words) != 1:
        raise UsageError("'ketch search' requires 1 argument")
    term = parsed.words[0]
    query = {
        "term": term,
        "limit": parsed["limit"] or None,
        "filters": listing.filters_of(parsed),
    }
    header = credentials.header_for(term if "/" in term else f"{term}/")
    headers = {"X-Registry-Auth": header} if header else {}
    body = client.stream("GET", "/images/search", query, headers=headers).body()
    from ketch.linux import fastjson

    table = not parsed["format"] or parsed["format"].startswith("table")
    rows = []
    for item in fastjson.loads(body):
        text = " ".join(str(item.get("description") or "").split())
        official = bool(item.get("is_official"))
        rows.append(
            {
                "Name": str(item.get("name", "")),
                "Description": text if parsed["no-trunc"] or len(text) <= WIDTH else _cut(text),
                "StarCount": str(item.get("star_count", 0)),
                "IsOfficial": ("[OK]" if official else "") if table else str(official).lower(),
            }
        )
    parsed.values["quiet"] = False
    listing.show(parsed, COLUMNS, rows, "Name")
    sys.stdout.flush()
    return 0


def _cut(text: str) -> str:
    return text[: WIDTH - 1] + "…"
