"""``ketch exec``: a further process in a running container."""

import os
import sys

from ketch.cli import detach, foreground, routes, terminal
from ketch.cli.flag_values import environment_word
from ketch.cli.flags import Failure, Flag, count, parse
from ketch.cli.streams import Detached, Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

FLAGS = (
    Flag("detach", "d", "switch", "Detached mode: run command in the background"),
    Flag("detach-keys", help="Override the key sequence for detaching", default=""),
    Flag("die-with-client", "", "switch", "End the command when this client goes away"),
    Flag("env", "e", "list", "Set environment variables", convert=environment_word),
    Flag("env-file", "", "list", "Read in a file of environment variables", values="files"),
    Flag("interactive", "i", "switch", "Keep STDIN open even if not attached"),
    Flag("privileged", "", "switch", "Give extended privileges to the command"),
    Flag("tty", "t", "switch", "Allocate a pseudo-TTY"),
    Flag("user", "u", "text", "Username or UID (format: <name|uid>[:<group|gid>])", ""),
    Flag("workdir", "w", "text", "Working directory inside the container", ""),
)
HELP = {"execute": ("[OPTIONS] CONTAINER COMMAND [ARG...]", FLAGS)}


def execute(client: "Client", argv: "list[str]") -> int:
    """Run a command in a container; returns its exit code."""
    parsed = parse(FLAGS, argv, interspersed=False)
    count(parsed, "exec", 2, None)
    if parsed["tty"] and parsed["interactive"] and not parsed["detach"] and not os.isatty(0):
        raise Failure("the input device is not a TTY")
    identity = _create(client, parsed)
    if parsed["detach"]:
        client.call("POST", f"/exec/{identity}/start", body={"Detach": True, "Tty": parsed["tty"]})
        return 0
    return _stay(client, identity, parsed)


def _create(client: "Client", parsed: "Parsed") -> str:
    from ketch.cli.environment import environment

    attached = not parsed["detach"]
    body: dict[str, Any] = {
        "Cmd": parsed.words[1:],
        "Env": environment(parsed["env"], parsed["env-file"]),
        "User": parsed["user"],
        "WorkingDir": parsed["workdir"],
        "Tty": parsed["tty"],
        "Privileged": parsed["privileged"],
        "DetachKeys": detach.chosen(parsed["detach-keys"]),
        "AttachStdin": attached and parsed["interactive"],
        "AttachStdout": attached,
        "AttachStderr": attached,
    }
    if parsed["die-with-client"]:
        if parsed["detach"]:
            raise Failure("Conflicting options: --die-with-client and -d")
        body["DieWithClient"] = True
    if parsed["tty"]:
        height, width = terminal.size()
        if height:
            body["ConsoleSize"] = [height, width]
    return str(client.call("POST", routes.container(parsed.words[0], "/exec"), body=body)["Id"])


def _stay(client: "Client", identity: str, parsed: "Parsed") -> int:
    body = {"Detach": False, "Tty": parsed["tty"]}
    sock, early, _ = client.hijack(f"/exec/{identity}/start", body=body)
    tty, stdin = parsed["tty"], parsed["interactive"]
    keys, bound = detach.chosen(parsed["detach-keys"]), parsed["die-with-client"]
    session = Session(sock, early, tty=tty, stdin=stdin, keys=keys, leaves_open=bound)
    if tty:
        foreground.follow_size(client, f"/exec/{identity}/resize")
    try:
        if tty and stdin:
            with terminal.Raw():
                session.pump()
        else:
            session.pump()
    except Detached:
        sys.stderr.write("read escape sequence\n")
        return 1
    return int(client.call("GET", f"/exec/{identity}/json")["ExitCode"] or 0)
