"""``ketch attach`` and ``ketch start``."""

import sys

from ketch.cli import detach, foreground, routes, terminal
from ketch.cli.attached_run import StartRefused, exit_code, start_and_stay
from ketch.cli.exits import prefix
from ketch.cli.flags import Failure, Flag, count, parse
from ketch.cli.streams import Detached, Session
from ketch.errors import KetchError, NotModified

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.client.api import Client

KEYS = Flag("detach-keys", help="Override the key sequence for detaching", default="")
ATTACH_FLAGS = (
    KEYS,
    Flag("no-stdin", "", "switch", "Do not attach STDIN"),
    Flag("sig-proxy", "", "switch", "Proxy all received signals to the process", True),
)
START_FLAGS = (
    KEYS,
    Flag("attach", "a", "switch", "Attach STDOUT/STDERR and forward signals"),
    Flag("checkpoint", "", "text", "Restore from this checkpoint (not supported)", ""),
    Flag("checkpoint-dir", "", "text", "Use a custom checkpoint storage (not supported)", ""),
    Flag("interactive", "i", "switch", "Attach container's STDIN"),
)
HELP = {
    "attach": ("[OPTIONS] CONTAINER", ATTACH_FLAGS),
    "start": ("[OPTIONS] CONTAINER [CONTAINER...]", START_FLAGS),
}


def attach(client: "Client", argv: "list[str]") -> int:
    """Join a running container's stdio; returns its exit code when it ends meanwhile."""
    parsed = parse(ATTACH_FLAGS, argv)
    count(parsed, "attach", 1)
    path = routes.container(parsed.words[0])
    info = client.call("GET", f"{path}/json")
    _check(info["State"])
    tty = info["Config"]["Tty"]
    stdin = info["Config"]["OpenStdin"] and not parsed["no-stdin"]
    query = {"stream": True, "stdin": stdin, "stdout": True, "stderr": True}
    keys = detach.chosen(parsed["detach-keys"])
    if keys:
        query["detachKeys"] = keys
    waiting = client.stream("POST", f"{path}/wait")
    sock, early, _ = client.hijack(f"{path}/attach", query)
    if tty:
        foreground.follow_size(client, f"{path}/resize", redraw=True)
    elif parsed["sig-proxy"]:
        foreground.proxy_signals(client, parsed.words[0])
    session = Session(sock, early, tty=tty, stdin=stdin, keys=keys)
    try:
        if tty and stdin:
            with terminal.Raw():
                session.pump()
        else:
            session.pump()
    except Detached:
        sys.stderr.write("read escape sequence\n")
        return 1
    return exit_code(client, parsed.words[0], waiting)


def _check(state: "dict[str, Any]") -> None:
    if not state["Running"]:
        raise Failure("You cannot attach to a stopped container, start it first")
    if state["Paused"]:
        raise Failure("You cannot attach to a paused container, unpause it first")
    if state["Restarting"]:
        raise Failure("You cannot attach to a restarting container, wait until it is running")


def start(client: "Client", argv: "list[str]") -> int:
    """Start stopped containers; ``-a`` stays with one."""
    parsed = parse(START_FLAGS, argv)
    count(parsed, "start", 1, None)
    if parsed["checkpoint"] or parsed["checkpoint-dir"]:
        raise Failure("--checkpoint is not supported: containers cannot be checkpointed")
    if parsed["attach"] or parsed["interactive"]:
        if len(parsed.words) > 1:
            raise Failure("you cannot start and attach multiple containers at once")
        info = client.call("GET", routes.container(parsed.words[0], "/json"))
        how = {
            "tty": info["Config"]["Tty"],
            "stdin": parsed["interactive"] and info["Config"]["OpenStdin"],
            "stdout": True,
            "stderr": True,
            "remove": info["HostConfig"]["AutoRemove"],
            "keys": detach.chosen(parsed["detach-keys"]),
            "proxy": not info["Config"]["Tty"],
        }
        try:
            return start_and_stay(client, parsed.words[0], how)
        except StartRefused as error:
            raise error.reason from None
    code, failed = 0, []
    for name in parsed.words:
        try:
            client.call("POST", routes.container(name, "/start"))
        except NotModified:
            pass
        except KetchError as error:
            sys.stdout.flush()
            sys.stderr.write(f"{prefix(error)}{error}\n")
            code = 1
            failed.append(name)
            continue
        sys.stdout.write(name + "\n")
    if code:
        sys.stderr.write("Error: failed to start containers: " + ", ".join(failed) + "\n")
    return code
