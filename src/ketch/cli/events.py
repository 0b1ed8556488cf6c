"""``ketch events``: what happens, as it happens."""

import sys

from ketch.cli import instants, listing
from ketch.cli.flag_values import filter_word
from ketch.cli.flags import Flag, count, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ketch.client.api import Client

FLAGS = (
    Flag("filter", "f", "list", "Filter output based on conditions provided", type="filter",
         convert=filter_word, values="event-filters"),
    Flag("format", "", "text", "json, or a template such as '{{.Type}} {{.Action}}'", ""),
    Flag("since", "", "text", "Show all events created since timestamp", ""),
    Flag("until", "", "text", "Stream events until this timestamp", ""),
)  # fmt: skip
HELP = {"events": ("[OPTIONS]", FLAGS)}


def events(client: "Client", argv: "list[str]") -> int:
    """Print events until the daemon or the user ends it."""
    parsed = parse(FLAGS, argv)
    count(parsed, "events", 0)
    shown = _shower(parsed["format"])
    query = {
        "filters": listing.filters_of(parsed),
        "since": instants.asked(parsed["since"]),
        "until": instants.asked(parsed["until"]),
    }
    for event in client.json_lines("GET", "/events", query):
        sys.stdout.write(shown(event) + "\n")
        sys.stdout.flush()
    return 0


def _shower(form: str) -> "Callable[[dict[str, Any]], str]":
    """From an event to its line."""
    if not form:
        return text_of
    from ketch.cli import template

    if form == "json":
        return template.json_line
    bad = template.BAD_TEMPLATE
    return template.compiled(form, "Error parsing format: ", bad, bad)


def text_of(event: "dict[str, Any]") -> str:
    """One line: when, what, whom, and what else is known."""
    actor, nanos = event["Actor"], event["timeNano"]
    stamp = instants.rfc3339(nanos // 10**9, nanos % 10**9)
    attributes = ", ".join(f"{key}={value}" for key, value in sorted(actor["Attributes"].items()))
    known = f" ({attributes})" if attributes else ""
    return f"{stamp} {event['Type']} {event['Action']} {actor['ID']}{known}"
