"""``ketch attach`` and ``ketch start``."""

import sys

from ketch.cli import foreground, terminal
from ketch.cli.attached_run import exit_code, start_and_stay
from ketch.cli.flags import Flag, UsageError, parse
from ketch.cli.streams import Detached, Session
from ketch.errors import Conflict, KetchError, NotModified

TYPE_CHECKING = False
if TYPE_CHECKING:
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
    Flag("interactive", "i", "switch", "Attach container's STDIN"),
)
HELP = {
    "attach": ("[OPTIONS] CONTAINER", ATTACH_FLAGS),
    "start": ("[OPTIONS] CONTAINER [CONTAINER...]", START_FLAGS),
}


def attach(client: "Client", argv: "list[str]") -> int:
    """Join a running container's stdio; returns its exit code when it ends meanwhile."""
    parsed = parse(ATTACH_FLAGS, argv)
    if len(parsed.words) != 1:
        raise UsageError("'ketch attach' requires 1 argument")
    path = f"/containers/{parsed.words[0]}"
    info = client.call("GET", f"{path}/json")
    if not info["State"]["Running"]:
        raise Conflict("cannot attach to a stopped container, start it first")
    tty = info["Config"]["Tty"]
    stdin = info["Config"]["OpenStdin"] and not parsed["no-stdin"]
    query = {"stream": True, "stdin": stdin, "stdout": True, "stderr": True}
    if parsed["detach-keys"]:
        query["detachKeys"] = parsed["detach-keys"]
    waiting = client.stream("POST", f"{path}/wait")
    sock, early, _ = client.hijack(f"{path}/attach", query)
    if tty:
        foreground.follow_size(client, f"{path}/resize")
    elif parsed["sig-proxy"]:
        foreground.proxy_signals(client, parsed.words[0])
    session = Session(sock, early, tty=tty, stdin=stdin, keys=parsed["detach-keys"])
    try:
        if tty and stdin:
            with terminal.Raw():
                session.pump()
        else:
            session.pump()
    except Detached:
        sys.stderr.write("read escape sequence\n")
        return 1
    return exit_code(waiting)


def start(client: "Client", argv: "list[str]") -> int:
    """Start stopped containers; ``-a`` stays with one."""
    parsed = parse(START_FLAGS, argv)
    if not parsed.words:
        raise UsageError("'ketch start' requires at least 1 argument")
    if parsed["attach"] or parsed["interactive"]:
        if len(parsed.words) > 1:
            raise UsageError("you cannot start and attach multiple containers at once")
        info = client.call("GET", f"/containers/{parsed.words[0]}/json")
        how = {
            "tty": info["Config"]["Tty"],
            "stdin": parsed["interactive"] and info["Config"]["OpenStdin"],
            "stdout": True,
            "stderr": True,
            "remove": info["HostConfig"]["AutoRemove"],
            "keys": parsed["detach-keys"],
            "proxy": not info["Config"]["Tty"],
        }
        return start_and_stay(client, parsed.words[0], how)
    code = 0
    for name in parsed.words:
        try:
            client.call("POST", f"/containers/{name}/start")
        except NotModified:
            pass
        except KetchError as error:
            sys.stderr.write(f"Error response from daemon: {error}\n")
            code = 1
            continue
        sys.stdout.write(name + "\n")
    if code:
        sys.stderr.write("failed to start containers\n")
    return code
