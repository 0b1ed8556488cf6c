"""``ketch version``, ``info``, ``events`` and ``system df``."""

import sys

from ketch import __version__
from ketch.cli import pretty, table, template, units
from ketch.cli.flags import Flag, parse
from ketch.client.connection import EngineUnreachable
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.client.api import Client

FORMAT = (Flag("format", "f", "text", "Format output using a template, or json"),)
EVENT_FLAGS = (
    Flag("filter", "f", "list", "Filter output based on conditions provided"),
    Flag("format", help="json or a template"),
    Flag("since", help="Show all events created since timestamp", default=""),
    Flag("until", help="Stream events until this timestamp", default=""),
)
HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "version": ("[OPTIONS]", FORMAT),
    "info": ("[OPTIONS]", FORMAT),
    "events": ("[OPTIONS]", EVENT_FLAGS),
    "df": ("[OPTIONS]", FORMAT),
}
INFO_ROWS = (
    ("Containers", "Containers"),
    (" Running", "ContainersRunning"),
    (" Paused", "ContainersPaused"),
    (" Stopped", "ContainersStopped"),
    ("Images", "Images"),
    ("Server Version", "ServerVersion"),
    ("Storage Driver", "Driver"),
    ("Logging Driver", "LoggingDriver"),
    ("Cgroup Driver", "CgroupDriver"),
    ("Cgroup Version", "CgroupVersion"),
    ("Default Runtime", "DefaultRuntime"),
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
    ("CPUs", "NCPU"),
    ("Total Memory", "MemTotal"),
    ("Name", "Name"),
    ("ID", "ID"),
    ("Data Root", "DockerRootDir"),
)


def version(client: "Client", argv: "list[str]") -> int:
    """Versions of this program and of the engine."""
    parsed = parse(FORMAT, argv)
    mine = {"Version": __version__, "Os": "linux"}
    server: Any = None
    failure: EngineUnreachable | None = None
    try:
        server = client.call("GET", "/version")
    except EngineUnreachable as error:
        failure = error
    whole = {"Client": mine, "Server": server}
    if parsed["format"]:
        form = "{{json .}}" if parsed["format"] == "json" else parsed["format"]
        sys.stdout.write(template.expand(form, whole) + "\n")
    else:
        sys.stdout.write(f"Client: ketch\n Version:      {__version__}\n")
        if server:
            sys.stdout.write(_server_text(server))
    if failure is None:
        return 0
    sys.stderr.write(f"{failure}\n")
    return 1


def _server_text(server: "dict[str, Any]") -> str:
    rows = [
        f"\nServer: {server['Platform']['Name']}\n Engine:",
        f"  Version:      {server['Version']}",
        f"  API version:  {server['ApiVersion']} (minimum version {server['MinAPIVersion']})",
        f"  OS/Arch:      {server['Os']}/{server['Arch']}",
        f"  Kernel:       {server['KernelVersion']}",
    ]
    for component in server.get("Components") or ():
        if component["Name"] != "Engine":
            rows.append(f" {component['Name']}:\n  Version:      {component['Version']}")
    return "\n".join(rows) + "\n"


def info(client: "Client", argv: "list[str]") -> int:
    """What the engine says of itself."""
    parsed = parse(FORMAT, argv)
    answer = client.call("GET", "/info")
    if parsed["format"]:
        form = "{{json .}}" if parsed["format"] == "json" else parsed["format"]
        sys.stdout.write(template.expand(form, answer) + "\n")
        return 0
    out = [f"Client: ketch\n Version: {__version__}\n\nServer:"]
    for label, key in INFO_ROWS:
        value = answer.get(key)
        if key == "MemTotal":
            value = units.human_size(value or 0)
        out.append(f" {label}: {value}")
        if key == "Driver":
            out.extend(f"  {name}: {text}" for name, text in answer.get("DriverStatus") or ())
    for warning in answer.get("Warnings") or ():
        sys.stderr.write(f"{warning}\n")
    sys.stdout.write("\n".join(out) + "\n")
    return 0


def events(client: "Client", argv: "list[str]") -> int:
    """Print events as they happen."""
    from ketch.cli.listing import filters_of
    from ketch.cli.logs import instant

    parsed = parse(EVENT_FLAGS, argv)
    query = {
        "filters": filters_of(parsed),
        "since": instant(parsed["since"], "since"),
        "until": instant(parsed["until"], "until"),
    }
    for event in client.json_lines("GET", "/events", query):
        form = parsed["format"]
        if form == "json":
            text = fastjson.dumps(event).decode()
        else:
            text = template.expand(form, event) if form else _event_text(event)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    return 0


def _event_text(event: "dict[str, Any]") -> str:
    from datetime import datetime

    actor = event["Actor"]
    nanos = event["timeNano"]
    when = datetime.fromtimestamp(nanos // 10**9).astimezone()
    attributes = ", ".join(f"{key}={value}" for key, value in sorted(actor["Attributes"].items()))
    stamp = f"{when:%Y-%m-%dT%H:%M:%S}.{nanos % 10**9:09d}{when:%z}"
    return (
        f"{stamp[:-2]}:{stamp[-2:]} {event['Type']} {event['Action']} {actor['ID']} ({attributes})"
    )


def df(client: "Client", argv: "list[str]") -> int:
    """Disk space by kind of object."""
    parsed = parse(FORMAT, argv)
    answer = client.call("GET", "/system/df")
    if parsed["format"]:
        sys.stdout.write(
            (
                pretty.dumps(answer)
                if parsed["format"] == "json"
                else template.expand(parsed["format"], answer)
            )
            + "\n"
        )
        return 0
    images, containers = answer.get("Images") or [], answer.get("Containers") or []
    volumes = answer.get("Volumes") or []
    rows = [
        _df_row(
            "Images", images, lambda i: i.get("Containers", 0) > 0, answer.get("LayersSize", 0)
        ),
        _df_row(
            "Containers",
            containers,
            lambda c: c["State"] == "running",
            sum(c.get("SizeRw", 0) for c in containers),
        ),
        _df_row(
            "Local Volumes",
            volumes,
            lambda v: (v.get("UsageData") or {}).get("RefCount", 0) > 0,
            sum((v.get("UsageData") or {}).get("Size", 0) for v in volumes),
        ),
    ]
    sys.stdout.write(table.render(("TYPE", "TOTAL", "ACTIVE", "SIZE"), rows))
    return 0


def _df_row(name: str, items: "list[Any]", active: "Any", size: int) -> "tuple[str, ...]":
    return name, str(len(items)), str(sum(map(active, items))), units.human_size(size)
