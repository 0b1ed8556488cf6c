"""Staying with a container that is about to start: attach, wait, start, show, exit code.

The order is Docker's (attach and wait are in place before the start), so nothing of a short
process's output or exit is missed.
"""

import sys

from ketch.cli import detach, exits, foreground, routes, terminal
from ketch.cli.streams import Detached, Session
from ketch.errors import KetchError, NotModified, Unavailable
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client
    from ketch.client.connection import Response


def stay(client: "Client", identity: str, parsed: "Parsed") -> int:
    """Returns the exit code of ``ketch run``."""
    streams = set(parsed["attach"]) or {"stdin", "stdout", "stderr"}
    stdin = parsed["interactive"] and "stdin" in streams
    how = {
        "tty": parsed["tty"],
        "stdin": stdin,
        "stdout": "stdout" in streams,
        "stderr": "stderr" in streams,
        "remove": parsed["rm"],
        "keys": detach.chosen(parsed["detach-keys"]),
        "proxy": parsed["sig-proxy"] and not parsed["tty"],
    }
    try:
        return start_and_stay(client, identity, how)
    except StartRefused as error:
        sys.stderr.write(
            f"ketch: {exits.prefix(error.reason)}{error.reason}\n\n"
            "Run 'ketch run --help' for more information\n"
        )
        return exits.of_run(error.reason)


class StartRefused(Exception):
    """The engine does not start the container; ``reason`` is its error."""

    def __init__(self, reason: KetchError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def start_and_stay(client: "Client", identity: str, how: "dict[str, Any]") -> int:
    """Attach, start and pump; ``how`` as ``stay`` fills it. Raises ``StartRefused``."""
    path = routes.container(identity)
    query = {"stream": True, **{name: how[name] for name in ("stdin", "stdout", "stderr")}}
    if how["keys"]:
        query["detachKeys"] = how["keys"]
    sock, early, _ = client.hijack(f"{path}/attach", query)
    condition = "removed" if how["remove"] else "next-exit"
    waiting = client.stream("POST", f"{path}/wait", {"condition": condition})
    if how["proxy"]:
        foreground.proxy_signals(client, identity)
    session = Session(sock, early, tty=how["tty"], stdin=how["stdin"], keys=how["keys"])
    raw = how["tty"] and how["stdin"] and terminal.is_terminal(0)
    try:
        client.call("POST", f"{path}/start")
    except NotModified:
        pass  # it runs already
    except KetchError as error:
        raise StartRefused(error) from None
    if how["tty"]:
        foreground.follow_size(client, f"{path}/resize")
    try:
        if raw:
            with terminal.Raw():
                session.pump()
        else:
            session.pump()
    except Detached:
        return 0
    return exit_code(client, identity, waiting)


def exit_code(client: "Client", identity: str, waiting: "Response") -> int:
    """The status that an answer of ``wait`` carries.

    A daemon that went away meanwhile is asked again when it is back: the container lived on.
    """
    try:
        answer: Any = fastjson.loads(waiting.body())
    except (Unavailable, OSError):
        from ketch.cli import wait_again

        return wait_again.exit_code(client, identity)
    if answer.get("Error"):
        sys.stderr.write(f"ketch: {answer['Error'].get('Message')}\n")
    return int(answer["StatusCode"]) & 0xFF
