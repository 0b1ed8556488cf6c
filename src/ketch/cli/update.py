"""``ketch update``: limits and restart policy as Docker's, and what only ketch changes."""

import sys

from ketch.cli import mount_flag, ports
from ketch.cli.flags import Flag, UsageError, parse
from ketch.cli.units import parse_size
from ketch.errors import KetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

FLAGS = (
    Flag("blkio-weight", kind="number", help="Block IO weight (10 to 1000)", default=0),
    Flag("cpu-period", kind="number", help="Limit CPU CFS period (microseconds)", default=0),
    Flag("cpu-quota", kind="number", help="Limit CPU CFS quota (microseconds)", default=0),
    Flag("cpu-rt-period", kind="number", help="Limit the CPU real-time period", default=0),
    Flag("cpu-rt-runtime", kind="number", help="Limit the CPU real-time runtime", default=0),
    Flag("cpu-shares", "c", "number", "CPU shares (relative weight)", 0),
    Flag("cpus", help="Number of CPUs", default=""),
    Flag("cpuset-cpus", help="CPUs in which to allow execution (0-3, 0,1)", default=""),
    Flag("cpuset-mems", help="MEMs in which to allow execution (0-3, 0,1)", default=""),
    Flag("env", "e", "list", "Set a variable from the next start on"),
    Flag("env-rm", "", "list", "Remove a variable from the next start on"),
    Flag("label", "l", "list", "Set a label, at once"),
    Flag("label-rm", "", "list", "Remove a label, at once"),
    Flag("memory", "m", "text", "Memory limit", ""),
    Flag("memory-reservation", help="Memory soft limit", default=""),
    Flag("memory-swap", help="Swap limit equal to memory plus swap: -1 for unlimited", default=""),
    Flag("mount", "", "list", "Mount from the next start on (type=…,source=…,target=…)"),
    Flag("mount-rm", "", "list", "No longer mount at this path, from the next start on"),
    Flag("pids-limit", kind="number", help="Tune container pids limit (-1 for unlimited)"),
    Flag("publish", "p", "list", "Publish a port, at once"),
    Flag("publish-rm", "", "list", "No longer publish [[IP:]HOST:]PORT[/PROTOCOL], at once"),
    Flag("restart", help="Restart policy to apply when a container exits", default=""),
)
HELP = {"update": ("[OPTIONS] CONTAINER [CONTAINER...]", FLAGS)}
_NUMBERS = (
    ("blkio-weight", "BlkioWeight"),
    ("cpu-period", "CpuPeriod"),
    ("cpu-quota", "CpuQuota"),
    ("cpu-rt-period", "CpuRealtimePeriod"),
    ("cpu-rt-runtime", "CpuRealtimeRuntime"),
    ("cpu-shares", "CpuShares"),
)
_BEYOND = ("publish", "label", "env", "mount")


def update(client: "Client", argv: "list[str]") -> int:
    """Update containers; prints their names, and on stderr what waits for the next start."""
    parsed = parse(FLAGS, argv)
    if not parsed.words:
        raise UsageError("'ketch update' requires at least 1 argument")
    if not parsed.given:
        raise UsageError("you must provide one or more flags when using this command")
    body = _limits(parsed)
    if any(parsed[name] or parsed[f"{name}-rm"] for name in _BEYOND):
        body["Ketch"] = _changes(parsed)
    code = 0
    for name in parsed.words:
        try:
            answer = client.call("POST", f"/containers/{name}/update", body=body)
        except KetchError as error:
            sys.stderr.write(f"Error response from daemon: {error}\n")
            code = 1
            continue
        sys.stdout.write(name + "\n")
        _tell(name, answer)
    return code


def _tell(name: str, answer: "dict[str, Any]") -> None:
    for warning in answer.get("Warnings") or ():
        sys.stderr.write(f"WARNING: {warning}\n")
    later = (answer.get("Ketch") or {}).get("NextStart")
    if later:
        sys.stderr.write(f"{name}: at the next start: {', '.join(later)}\n")


def _limits(parsed: "Parsed") -> "dict[str, Any]":
    body: dict[str, Any] = {key: parsed[flag] for flag, key in _NUMBERS if parsed[flag]}
    for flag, key in (("cpuset-cpus", "CpusetCpus"), ("cpuset-mems", "CpusetMems")):
        if parsed[flag]:
            body[key] = parsed[flag]
    for flag, key in (("memory", "Memory"), ("memory-reservation", "MemoryReservation")):
        if parsed[flag]:
            body[key] = parse_size(parsed[flag], flag)
    if parsed["memory-swap"]:
        swap = parsed["memory-swap"]
        body["MemorySwap"] = -1 if swap == "-1" else parse_size(swap, "memory-swap")
    if parsed["pids-limit"] is not None:
        body["PidsLimit"] = parsed["pids-limit"]
    if parsed["cpus"]:
        try:
            body["NanoCpus"] = round(float(parsed["cpus"]) * 1e9)
        except ValueError:
            raise UsageError(f'invalid argument "{parsed["cpus"]}" for "--cpus" flag') from None
    if parsed["restart"]:
        body["RestartPolicy"] = _policy(parsed["restart"])
    return body


def _policy(text: str) -> "dict[str, Any]":
    name, _, retries = text.partition(":")
    if retries and not retries.isdecimal():
        raise UsageError("invalid restart policy format: maximum retry count must be an integer")
    return {"Name": name, "MaximumRetryCount": int(retries or 0)}


def _changes(parsed: "Parsed") -> "dict[str, Any]":
    """``Ketch`` of the update body."""
    from ketch.cli.create_body import environment

    _, bindings = ports.of_flags(parsed["publish"], [])
    labels = (word.partition("=") for word in parsed["label"])
    return {
        "PublishAdd": bindings,
        "PublishRemove": parsed["publish-rm"],
        "LabelsAdd": {name: value for name, _, value in labels},
        "LabelsRemove": parsed["label-rm"],
        "EnvAdd": environment(parsed["env"], []),
        "EnvRemove": parsed["env-rm"],
        "MountsAdd": [mount_flag.parse(text) for text in parsed["mount"]],
        "MountsRemove": parsed["mount-rm"],
    }
