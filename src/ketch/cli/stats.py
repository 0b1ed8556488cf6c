"""``ketch stats``: what containers use, live.

Two samples make a line: the shares of processor time are differences (docker stats, Engine API
"Get container stats based on resource usage"). All containers are asked over one connection.
"""

import sys
import time

from ketch.cli import listing, routes, table, units
from ketch.cli.flags import Flag, parse
from ketch.errors import KetchError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

    Samples = dict[str, dict[str, Any]]

FLAGS = (
    Flag("all", "a", "switch", "Show all containers (default shows just running)"),
    listing.FORMAT,
    Flag("no-stream", "", "switch", "Disable streaming stats and only pull the first result"),
    Flag("no-trunc", "", "switch", "Do not truncate output"),
)
HELP = {"stats": ("[OPTIONS] [CONTAINER...]", FLAGS)}
COLUMNS = (
    listing.Column("ID", "CONTAINER ID"),
    listing.Column("Name", "NAME"),
    listing.Column("CPUPerc", "CPU %"),
    listing.Column("MemUsage", "MEM USAGE / LIMIT"),
    listing.Column("MemPerc", "MEM %"),
    listing.Column("NetIO", "NET I/O"),
    listing.Column("BlockIO", "BLOCK I/O"),
    listing.Column("PIDs", "PIDS"),
)
KIND = listing.Kind("*formatter.statsContext", "statsFormat", {"Container": "CONTAINER"})
PERIOD = 1.0
HOME, CLEAR_LINE, CLEAR_BELOW = "\033[H", "\033[K", "\033[J"
CLEAR = "\033[2J"


def stats(client: "Client", argv: "list[str]") -> int:
    """Show a line for each container, again every second."""
    parsed = parse(FLAGS, argv)
    for name in parsed.words:
        client.call("GET", routes.container(name, "/json"))
    before = _samples(client, parsed)
    live = sys.stdout.isatty() and not parsed["no-stream"]
    if live:
        sys.stdout.write(CLEAR)
    while True:
        time.sleep(PERIOD)
        now = _samples(client, parsed)
        rows = [
            row(name, sample, before.get(name, {}), parsed["no-trunc"])
            for name, sample in now.items()
        ]
        _show(parsed, rows, live)
        if parsed["no-stream"] or (parsed.words and not now):
            return 0
        before = now


def _samples(client: "Client", parsed: "Parsed") -> "Samples":
    """One sample of each container that is asked for, by the word that names it."""
    names = parsed.words
    if not names:
        items = client.call("GET", "/containers/json", {"all": parsed["all"]})
        names = [item["Id"] for item in items]
    found: Samples = {}
    query = {"stream": "false", "one-shot": "true"}
    for name in names:
        try:
            found[name] = client.call("GET", routes.container(name, "/stats"), query)
        except NotFound:
            continue  # it has gone meanwhile
        except KetchError:
            if parsed.words:
                raise
    return found


def row(
    name: str, sample: "dict[str, Any]", before: "dict[str, Any]", whole: bool
) -> "dict[str, Any]":
    """One container's texts; Docker's names for them."""
    identity = sample.get("id") or name
    used, limit = memory(sample)
    received, sent = network(sample)
    read, written = block(sample)
    known = used or limit
    return {
        "BlockIO": f"{units.human_size(read)} / {units.human_size(written)}",
        "CPUPerc": f"{processor(sample, before):.2f}%",
        "Container": name if whole or len(name) != 64 else name[:12],
        "ID": identity if whole else identity[:12],
        "MemPerc": f"{used / limit * 100 if limit else 0:.2f}%",
        "MemUsage": f"{units.binary_size(used)} / {units.binary_size(limit)}"
        if known
        else "0B / 0B",
        "Name": (sample.get("name") or "").lstrip("/"),
        "NetIO": f"{units.human_size(received)} / {units.human_size(sent)}",
        "PIDs": str((sample.get("pids_stats") or {}).get("current") or 0),
    }


def processor(sample: "dict[str, Any]", before: "dict[str, Any]") -> float:
    """Percent of one processor since the sample before."""
    now, then = sample.get("cpu_stats") or {}, before.get("cpu_stats") or {}
    used = _total(now) - _total(then)
    passed = (now.get("system_cpu_usage") or 0) - (then.get("system_cpu_usage") or 0)
    if not then or used <= 0 or passed <= 0:
        return 0.0
    processors = now.get("online_cpus") or len(_usage(now).get("percpu_usage") or ()) or 1
    return float(used / passed * processors * 100)


def _usage(stats: "dict[str, Any]") -> "dict[str, Any]":
    return stats.get("cpu_usage") or {}


def _total(stats: "dict[str, Any]") -> int:
    return int(_usage(stats).get("total_usage") or 0)


def memory(sample: "dict[str, Any]") -> "tuple[int, int]":
    """(bytes used without the page cache that can go, limit)."""
    stats = sample.get("memory_stats") or {}
    usage, limit = int(stats.get("usage") or 0), int(stats.get("limit") or 0)
    detail = stats.get("stats") or {}
    idle = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    return (usage - idle if idle < usage else usage), limit


def network(sample: "dict[str, Any]") -> "tuple[int, int]":
    """(bytes received, bytes sent) over all interfaces."""
    ends = (sample.get("networks") or {}).values()
    return sum(end["rx_bytes"] for end in ends), sum(end["tx_bytes"] for end in ends)


def block(sample: "dict[str, Any]") -> "tuple[int, int]":
    """(bytes read, bytes written) over all block devices."""
    entries = (sample.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    sums = {"r": 0, "w": 0}
    for entry in entries:
        letter = entry["op"][:1].lower()
        if letter in sums:
            sums[letter] += entry["value"]
    return sums["r"], sums["w"]


def _show(parsed: "Parsed", rows: "list[dict[str, Any]]", live: bool) -> None:
    form = parsed["format"] or "table"
    if not live or not form.startswith("table"):
        listing.show(parsed, COLUMNS, rows, "ID", KIND)
        sys.stdout.flush()
        return
    if form == "table":
        header = [column.header for column in COLUMNS]
        text = table.render(header, [[row[c.field] for c in COLUMNS] for row in rows])
    else:
        headers = {**KIND.headers, **{column.field: column.header for column in COLUMNS}}
        text = listing.formatted(form, rows, headers, KIND)
    lines = [line + CLEAR_LINE for line in text.splitlines()]
    sys.stdout.write(HOME + "\n".join(lines) + "\n" + CLEAR_BELOW)
    sys.stdout.flush()
