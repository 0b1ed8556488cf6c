"""Verbs on one or more containers: stop, kill, rm, restart, pause, rename, wait, prune."""

import sys

from ketch.cli import listing, units
from ketch.cli.flags import Flag, UsageError, parse
from ketch.errors import KetchError, NotModified
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ketch.client.api import Client

STOP_FLAGS = (
    Flag("signal", "s", "text", "Signal to send to the container", ""),
    Flag("time", "t", "number", "Seconds to wait before killing the container"),
    Flag("timeout", "", "number", "Seconds to wait before killing the container"),
)
KILL_FLAGS = (Flag("signal", "s", "text", "Signal to send to the container", ""),)
REMOVE_FLAGS = (
    Flag("force", "f", "switch", "Force the removal of a running container (uses SIGKILL)"),
    Flag("link", "l", "switch", "Remove the specified link"),
    Flag("volumes", "v", "switch", "Remove anonymous volumes associated with the container"),
)
PRUNE_FLAGS = (
    Flag("force", "f", "switch", "Do not prompt for confirmation"),
    Flag("filter", "", "list", "Provide filter values"),
)
SEVERAL = "CONTAINER [CONTAINER...]"
HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "stop": (f"[OPTIONS] {SEVERAL}", STOP_FLAGS),
    "restart": (f"[OPTIONS] {SEVERAL}", STOP_FLAGS),
    "kill": (f"[OPTIONS] {SEVERAL}", KILL_FLAGS),
    "rm": (f"[OPTIONS] {SEVERAL}", REMOVE_FLAGS),
    "pause": (SEVERAL, ()),
    "unpause": (SEVERAL, ()),
    "rename": ("CONTAINER NEW_NAME", ()),
    "wait": (SEVERAL, ()),
    "prune": ("[OPTIONS]", PRUNE_FLAGS),
}


def each(names: "list[str]", verb: str, act: "Callable[[str], Any]") -> int:
    """Call ``act`` for every name and print the name; exit code 1 if any failed."""
    if not names:
        raise UsageError(f"'ketch {verb}' requires at least 1 argument")
    code = 0
    for name in names:
        try:
            act(name)
        except NotModified:
            pass
        except KetchError as error:
            sys.stderr.write(f"Error response from daemon: {error}\n")
            code = 1
            continue
        sys.stdout.write(name + "\n")
        sys.stdout.flush()
    return code


def _stopping(client: "Client", argv: "list[str]", verb: str) -> int:
    parsed = parse(STOP_FLAGS, argv)
    seconds = parsed["timeout"] if parsed["timeout"] is not None else parsed["time"]
    query = {"t": seconds, "signal": parsed["signal"] or None}
    return each(
        parsed.words, verb, lambda name: client.call("POST", f"/containers/{name}/{verb}", query)
    )


def stop(client: "Client", argv: "list[str]") -> int:
    """Ask containers to end, then kill them."""
    return _stopping(client, argv, "stop")


def restart(client: "Client", argv: "list[str]") -> int:
    """Stop and start again."""
    return _stopping(client, argv, "restart")


def kill(client: "Client", argv: "list[str]") -> int:
    """Send a signal."""
    parsed = parse(KILL_FLAGS, argv)
    query = {"signal": parsed["signal"] or None}
    return each(
        parsed.words, "kill", lambda name: client.call("POST", f"/containers/{name}/kill", query)
    )


def rm(client: "Client", argv: "list[str]") -> int:
    """Remove containers."""
    parsed = parse(REMOVE_FLAGS, argv)
    query = {"force": parsed["force"], "v": parsed["volumes"], "link": parsed["link"]}
    return each(
        parsed.words, "rm", lambda name: client.call("DELETE", f"/containers/{name}", query)
    )


def pause(client: "Client", argv: "list[str]") -> int:
    """Freeze all processes."""
    return each(
        parse((), argv).words,
        "pause",
        lambda name: client.call("POST", f"/containers/{name}/pause"),
    )


def unpause(client: "Client", argv: "list[str]") -> int:
    """Thaw all processes."""
    return each(
        parse((), argv).words,
        "unpause",
        lambda name: client.call("POST", f"/containers/{name}/unpause"),
    )


def rename(client: "Client", argv: "list[str]") -> int:
    """Give a container another name."""
    words = parse((), argv).words
    if len(words) != 2:
        raise UsageError("'ketch rename' requires 2 arguments")
    client.call("POST", f"/containers/{words[0]}/rename", {"name": words[1]})
    return 0


def wait(client: "Client", argv: "list[str]") -> int:
    """Wait for containers; prints their exit codes."""
    words = parse((), argv).words
    if not words:
        raise UsageError("'ketch wait' requires at least 1 argument")
    code = 0
    for name in words:
        try:
            answer: Any = fastjson.loads(client.stream("POST", f"/containers/{name}/wait").body())
            sys.stdout.write(f"{answer['StatusCode']}\n")
        except KetchError as error:
            sys.stderr.write(f"Error response from daemon: {error}\n")
            code = 1
    return code


def prune(client: "Client", argv: "list[str]") -> int:
    """Remove all stopped containers."""
    from ketch.cli.confirm import confirmed

    parsed = parse(PRUNE_FLAGS, argv)
    if not parsed["force"] and not confirmed("WARNING! This will remove all stopped containers."):
        return 1
    answer = client.call("POST", "/containers/prune", {"filters": listing.filters_of(parsed)})
    deleted = answer.get("ContainersDeleted") or []
    if deleted:
        sys.stdout.write("Deleted Containers:\n" + "".join(f"{name}\n" for name in deleted) + "\n")
    sys.stdout.write(
        f"Total reclaimed space: {units.human_size(answer.get('SpaceReclaimed', 0))}\n"
    )
    return 0
