"""Verbs on one or more containers: stop, kill, rm, restart, pause, rename, wait."""

import sys

from ketch.cli import routes
from ketch.cli.exits import prefix
from ketch.cli.flags import CountError, Failure, Flag, count, parse
from ketch.errors import KetchError, NotFound, NotModified
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ketch.client.api import Client

STOP_FLAGS = (
    Flag("signal", "s", "text", "Signal to send to the container", "", values="signals"),
    Flag("timeout", "t", "number", "Seconds to wait before killing the container", also=("time",)),
)
KILL_FLAGS = STOP_FLAGS[:1]
REMOVE_FLAGS = (
    Flag("force", "f", "switch", "Force the removal of a running container (uses SIGKILL)"),
    Flag("link", "l", "switch", "Remove the specified link"),
    Flag("volumes", "v", "switch", "Remove anonymous volumes associated with the container"),
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
}


def each(names: "list[str]", verb: str, act: "Callable[[str], Any]") -> int:
    """Call ``act`` for every name and print the name, unless it gives False.

    Exit code 1 if any failed.
    """
    if not names:
        raise CountError(f"'ketch {verb}' requires at least 1 argument")
    code = 0
    for name in names:
        try:
            if act(name) is False:
                continue
        except NotModified:
            pass
        except KetchError as error:
            sys.stdout.flush()
            sys.stderr.write(f"{prefix(error)}{error}\n")
            code = 1
            continue
        sys.stdout.write(name + "\n")
        sys.stdout.flush()
    return code


def _stopping(client: "Client", argv: "list[str]", verb: str) -> int:
    parsed = parse(STOP_FLAGS, argv)
    query = {"t": parsed["timeout"], "signal": parsed["signal"] or None}
    return each(
        parsed.words,
        verb,
        lambda name: client.call("POST", routes.container(name, f"/{verb}"), query),
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
        parsed.words,
        "kill",
        lambda name: client.call("POST", routes.container(name, "/kill"), query),
    )


def rm(client: "Client", argv: "list[str]") -> int:
    """Remove containers."""
    parsed = parse(REMOVE_FLAGS, argv)
    query = {"force": parsed["force"], "v": parsed["volumes"], "link": parsed["link"]}

    def act(name: str) -> object:
        try:
            return client.call("DELETE", routes.container(name), query)
        except NotFound as error:
            if not parsed["force"]:
                raise
            sys.stderr.write(f"{prefix(error)}{error}\n")
            return False  # what is not there need not be removed: no failure, as with docker

    return each(parsed.words, "rm", act)


def pause(client: "Client", argv: "list[str]") -> int:
    """Freeze all processes."""
    return each(
        parse((), argv).words,
        "pause",
        lambda name: client.call("POST", routes.container(name, "/pause")),
    )


def unpause(client: "Client", argv: "list[str]") -> int:
    """Thaw all processes."""
    return each(
        parse((), argv).words,
        "unpause",
        lambda name: client.call("POST", routes.container(name, "/unpause")),
    )


def rename(client: "Client", argv: "list[str]") -> int:
    """Give a container another name."""
    parsed = parse((), argv)
    count(parsed, "rename", 2)
    old, new = parsed.words
    if not old.strip() or not new.strip():
        raise Failure("Error: Neither old nor new names may be empty")
    try:
        client.call("POST", routes.container(old, "/rename"), {"name": new})
    except KetchError as error:
        raise Failure(
            f"{prefix(error)}{error}\nError: failed to rename container named {old}"
        ) from None
    return 0


def wait(client: "Client", argv: "list[str]") -> int:
    """Wait for containers; prints their exit codes."""
    parsed = parse((), argv)
    count(parsed, "wait", 1, None)
    code = 0
    for name in parsed.words:
        try:
            answer: Any = fastjson.loads(
                client.stream("POST", routes.container(name, "/wait")).body()
            )
            sys.stdout.write(f"{answer['StatusCode']}\n")
            sys.stdout.flush()
        except KetchError as error:
            sys.stdout.flush()
            sys.stderr.write(f"{prefix(error)}{error}\n")
            code = 1
    return code
