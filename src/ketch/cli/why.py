"""``ketch why``: why a container stopped or will not start."""

import sys

from ketch.cli import routes
from ketch.cli.flags import Flag, count, parse
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.client.api import Client

FLAGS = (
    Flag("format", "f", "text", "json or a template such as '{{.Summary}}'", ""),
    Flag("rerun", "", "switch", "Start it first, with denied system calls written down"),
    Flag("timeout", "t", "number", "Seconds to wait for the end of a rerun", 10),
)
HELP = {"why": ("[OPTIONS] CONTAINER", FLAGS)}
_SHOWN = 10  # lines of the log


def why(client: "Client", argv: "list[str]") -> int:
    """Print what is found out about one container."""
    parsed = parse(FLAGS, argv)
    count(parsed, "why", 1)
    path = "/ketch" + routes.container(parsed.words[0])
    if parsed["rerun"]:
        found = client.call("POST", f"{path}/rerun", {"t": parsed["timeout"]})
    else:
        found = client.call("GET", f"{path}/why")
    if parsed["format"] == "json":
        sys.stdout.write(fastjson.dumps(found).decode() + "\n")
    elif parsed["format"]:
        from ketch.cli import template

        sys.stdout.write(template.expand(parsed["format"], found) + "\n")
    else:
        sys.stdout.write(_page(found))
    return 0


def _printable(text: str) -> str:
    """Names of an image's files must not steer the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _page(found: "dict[str, Any]") -> str:
    lines = [f"{found['Name']} ({found['Id'][:12]}): {found['Status']}", ""]
    for finding in found["Findings"]:
        mark = "" if finding["Certainty"] == "known" else f"[{finding['Certainty']}] "
        lines.append(f"  {mark}{_printable(finding['Text'])}")
    if found["Log"] and found["ExitCode"]:
        lines += ["", "The last lines of its log:"]
        lines += [f"  {_printable(line)}" for line in found["Log"][-_SHOWN:]]
    return "\n".join(lines) + "\n"
