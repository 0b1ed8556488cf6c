"""``ketch container execs`` and ``exec-kill``: processes that exec started.

Not ``exec ls``: a container may be called ``ls``.
"""

from ketch.cli import control, instants, listing, routes, units
from ketch.cli.flags import Flag, count, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.client.api import Client

LIST_FLAGS = (
    Flag("all", "a", "switch", "Show those that ended lately too"),
    *(flag for flag in listing.FLAGS if flag.name != "filter"),
)
KILL_FLAGS = (Flag("signal", "s", "text", "Signal to send (default KILL)", "", values="signals"),)
HELP = {
    "list_": ("[OPTIONS] CONTAINER", LIST_FLAGS),
    "kill": ("[OPTIONS] EXEC [EXEC...]", KILL_FLAGS),
}
COLUMNS = tuple(
    listing.Column(field, header)
    for field, header in (
        ("ID", "EXEC ID"),
        ("Command", "COMMAND"),
        ("User", "USER"),
        ("PID", "PID"),
        ("Started", "STARTED"),
        ("Status", "STATUS"),
    )
)


def list_(client: "Client", argv: "list[str]") -> int:
    """Print a table of a container's exec processes."""
    parsed = parse(LIST_FLAGS, argv)
    count(parsed, "container execs", 1)
    path = "/ketch" + routes.container(parsed.words[0], "/execs")
    found = client.call("GET", path, {"all": parsed["all"]})
    listing.show(parsed, COLUMNS, [_row(item, whole=parsed["no-trunc"]) for item in found], "ID")
    return 0


def _row(item: "dict[str, Any]", *, whole: bool) -> "dict[str, str]":
    process = item["ProcessConfig"]
    command = " ".join((process["entrypoint"], *process["arguments"]))
    if not whole and len(command) > 30:
        command = command[:29] + "…"
    code = item["ExitCode"]
    waiting = "Created" if code is None else f"Exited ({code})"
    return {
        "ID": item["ID"] if whole else units.short_id(item["ID"]),
        "Command": command,
        "User": process.get("user", ""),
        "PID": str(item["Pid"] or ""),
        "Started": units.since(instants.split(item["StartedAt"])[0]),
        "Status": "Running" if item["Running"] else waiting,
    }


def kill(client: "Client", argv: "list[str]") -> int:
    """Send a signal."""
    parsed = parse(KILL_FLAGS, argv)
    query = {"signal": parsed["signal"] or None}
    return control.each(
        parsed.words,
        "container exec-kill",
        lambda name: client.call("POST", "/ketch" + routes.exec_(name, "/kill"), query),
    )
