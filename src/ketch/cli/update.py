"""``ketch update``: limits and restart policy as Docker's, and what only ketch changes."""

import sys

from ketch.cli import mount_flag, ports, routes
from ketch.cli.create_host import restart_policy
from ketch.cli.environment import environment
from ketch.cli.exits import prefix
from ketch.cli.flag_values import environment_word, label, size
from ketch.cli.flags import Failure, Flag, count, parse
from ketch.cli.run_flags import LIMIT_FLAGS
from ketch.errors import KetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

FLAGS = (
    *LIMIT_FLAGS,
    Flag("env", "e", "list", "Set a variable from the next start on", convert=environment_word),
    Flag("env-rm", "", "list", "Remove a variable from the next start on"),
    Flag("kernel-memory", help="Kernel memory limit", default=0, type="bytes", convert=size),
    Flag("label", "l", "list", "Set a label, at once", convert=label),
    Flag("label-rm", "", "list", "Remove a label, at once"),
    Flag("mount", "", "list", "Mount from the next start on (type=…,source=…,target=…)",
         type="mount", convert=mount_flag.parse),
    Flag("mount-rm", "", "list", "No longer mount at this path, from the next start on"),
    Flag("publish", "p", "list", "Publish a port, at once"),
    Flag("publish-rm", "", "list", "No longer publish [[IP:]HOST:]PORT[/PROTOCOL], at once"),
    Flag("restart", help="Restart policy to apply when a container exits", default="",
         values=("always", "no", "on-failure", "on-failure:", "unless-stopped")),
)  # fmt: skip
HELP = {"update": ("[OPTIONS] CONTAINER [CONTAINER...]", FLAGS)}
_LIMITS = {
    "blkio-weight": "BlkioWeight",
    "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod",
    "cpu-rt-runtime": "CpuRealtimeRuntime",
    "cpu-shares": "CpuShares",
    "cpus": "NanoCpus",
    "cpuset-cpus": "CpusetCpus",
    "cpuset-mems": "CpusetMems",
    "kernel-memory": "KernelMemory",
    "memory": "Memory",
    "memory-reservation": "MemoryReservation",
    "memory-swap": "MemorySwap",
    "pids-limit": "PidsLimit",
}
_BEYOND = ("publish", "label", "env", "mount")


def update(client: "Client", argv: "list[str]") -> int:
    """Update containers; prints their names, and on stderr what waits for the next start."""
    parsed = parse(FLAGS, argv)
    count(parsed, "update", 1, None)
    if not parsed.given:
        raise Failure("you must provide one or more flags when using this command")
    body = _limits(parsed)
    if any(parsed[name] or parsed[f"{name}-rm"] for name in _BEYOND):
        body["Ketch"] = _changes(parsed)
    code = 0
    for name in parsed.words:
        try:
            answer = client.call("POST", routes.container(name, "/update"), body=body)
        except KetchError as error:
            sys.stderr.write(f"{prefix(error)}{error}\n")
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
    body = {field: parsed[flag] for flag, field in _LIMITS.items() if flag in parsed.given}
    if "restart" in parsed.given:
        body["RestartPolicy"] = restart_policy(parsed["restart"])
    return body


def _changes(parsed: "Parsed") -> "dict[str, Any]":
    """``Ketch`` of the update body."""
    _, bindings = ports.of_flags(parsed["publish"], [])
    labels = (word.partition("=") for word in parsed["label"])
    return {
        "PublishAdd": bindings,
        "PublishRemove": parsed["publish-rm"],
        "LabelsAdd": {name: value for name, _, value in labels},
        "LabelsRemove": parsed["label-rm"],
        "EnvAdd": environment(parsed["env"], []),
        "EnvRemove": parsed["env-rm"],
        "MountsAdd": parsed["mount"],
        "MountsRemove": parsed["mount-rm"],
    }
