"""``ketch-runtime``: a standalone OCI runtime with runc's command line.

containerd's shim, dockerd (``--add-runtime``) and conmon drive it. It is run by a bare interpreter
(``-I -S``); a command's modules are imported when it is called. Exit status: 0, 1 for an error
(255 for an ``exec`` that could not start), or that of the process in the foreground.
"""

import os
import sys

from ketch import __version__
from ketch.errors import (
    Forbidden,
    InvalidParameter,
    KetchError,
    StartFailed,
    Unsupported,
    errno_text,
)
from ketch.runtime.oci_flags import Flags, Given, parse
from ketch.runtime.oci_log import Log
from ketch.runtime.oci_state import OCI_VERSION, Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ketch.runtime.oci_create import Order

DEFAULT_ROOT = "/run/ketch-runtime"
_GLOBAL = Flags(
    values=("root", "log", "log-format", "rootless", "criu"),
    switches=("debug", "systemd-cgroup", "version", "help"),
    short={"v": "version", "h": "help"},
    stops=True,
)
_CREATE = Flags(
    values=("bundle", "pid-file", "console-socket", "preserve-fds"),
    switches=("no-pivot", "no-new-keyring", "detach", "keep", "no-subreaper"),
    short={"b": "bundle", "d": "detach"},
)
_EXEC = Flags(
    values=("process", "pid-file", "console-socket", "cwd", "user", "preserve-fds"),
    switches=("detach", "tty"),
    lists=("env",),
    short={"p": "process", "d": "detach", "t": "tty", "e": "env", "u": "user"},
    stops=True,
)


class Context:
    """The global flags of one call."""

    __slots__ = ("log", "root")

    def __init__(self, root: str, log: Log) -> None:
        self.root = root
        self.log = log

    def place(self, given: Given, more: int = 0) -> Place:
        """The container that the first word names; at most ``more`` words may follow."""
        if not given.words:
            raise InvalidParameter("a container ID is needed")
        if len(given.words) > 1 + more:
            raise InvalidParameter(f"unexpected argument {given.words[1 + more]!r}")
        return Place(self.root, given.words[0])


def _create(context: Context, args: "list[str]") -> int:
    _make(context, parse(_CREATE, args), True)
    return 0


def _run(context: Context, args: "list[str]") -> int:
    from ketch.runtime import oci_run

    given = parse(_CREATE, args)
    return oci_run.run(context.place(given), _order(given, False), given, context.log)


def _make(context: Context, given: Given, waits: bool) -> None:
    from ketch.runtime import oci_create

    for name in ("detach", "keep", "no-subreaper"):
        if name in given.on:
            raise InvalidParameter(f"flag provided but not defined: --{name}")
    oci_create.create(context.place(given), _order(given, waits), context.log)


def _order(given: Given, waits: bool) -> "Order":
    from ketch.runtime.oci_create import Order

    if "no-pivot" in given.on:
        raise Unsupported("--no-pivot is not supported: the root is always pivoted")
    order = Order(os.path.abspath(given.value("bundle", ".")), waits)
    order.console_socket = _absolute(given.value("console-socket"))
    order.pid_file = _absolute(given.value("pid-file"))
    order.inherits = given.number("preserve-fds")
    order.keyring = "no-new-keyring" not in given.on
    order.relays = not waits and "detach" not in given.on
    return order


def _absolute(path: str) -> str:
    return os.path.abspath(path) if path else ""


def _start(context: Context, args: "list[str]") -> int:
    from ketch.runtime import oci_lifecycle

    oci_lifecycle.start(context.place(parse(Flags(), args)), context.log)
    return 0


def _state(context: Context, args: "list[str]") -> int:
    from ketch.runtime import oci_report, oci_state

    place = context.place(parse(Flags(), args))
    _say(oci_report.pretty(oci_state.view(place, place.load())))
    return 0


def _kill(context: Context, args: "list[str]") -> int:
    from ketch.runtime import oci_lifecycle

    given = parse(Flags(switches=("all",), short={"a": "all"}), args)
    place = context.place(given, more=1)
    signal = given.words[1] if len(given.words) > 1 else "SIGTERM"
    oci_lifecycle.kill(place, signal, "all" in given.on)
    return 0


def _delete(context: Context, args: "list[str]") -> int:
    from ketch.runtime import oci_lifecycle

    given = parse(Flags(switches=("force",), short={"f": "force"}), args)
    oci_lifecycle.delete(context.place(given), "force" in given.on, context.log)
    return 0


def _exec(context: Context, args: "list[str]") -> int:
    from ketch.runtime import oci_exec

    given = parse(_EXEC, args)
    place = context.place(given, more=len(given.words))
    del given.words[0]
    try:
        return oci_exec.run(place, given)
    except StartFailed as error:
        context.log.error(f"exec failed: {error}")
        return 255


def _ps(context: Context, args: "list[str]") -> int:
    from ketch.runtime import oci_report

    given = parse(Flags(values=("format",), short={"f": "format"}, stops=True), args)
    options = given.words[1:]
    pids = oci_report.pids(context.place(given, more=len(options)))
    if _format(given) == "json":
        _say(oci_report.pretty(pids))
    else:
        _say(oci_report.ps_table(pids, options))
    return 0


def _format(given: Given) -> str:
    form = given.value("format", "table")
    if form not in ("table", "json"):
        raise InvalidParameter(f"invalid format {form!r}: it is table or json")
    return form


def _pause(context: Context, args: "list[str]") -> int:
    from ketch.runtime import oci_lifecycle

    oci_lifecycle.freeze(context.place(parse(Flags(), args)), True)
    return 0


def _resume(context: Context, args: "list[str]") -> int:
    from ketch.runtime import oci_lifecycle

    oci_lifecycle.freeze(context.place(parse(Flags(), args)), False)
    return 0


def _update(context: Context, args: "list[str]") -> int:
    from ketch.runtime import oci_lifecycle

    given = parse(Flags(values=("resources",), short={"r": "resources"}), args)
    if "resources" not in given.values:
        raise InvalidParameter("update wants --resources FILE (- for standard input)")
    oci_lifecycle.update(context.place(given), given.value("resources"))
    return 0


def _list(context: Context, args: "list[str]") -> int:
    from ketch.runtime import oci_report

    flags = Flags(values=("format",), switches=("quiet",), short={"q": "quiet", "f": "format"})
    given = parse(flags, args)
    rows = oci_report.views(context.root)
    if "quiet" in given.on:
        for row in rows:
            _say(row["id"])
    else:
        as_json = _format(given) == "json"
        _say(oci_report.pretty(rows) if as_json else oci_report.table(rows))
    return 0


def _spec(context: Context, args: "list[str]") -> int:
    from ketch.runtime import oci_report

    given = parse(Flags(values=("bundle",), short={"b": "bundle"}), args)
    oci_report.write_spec(given.value("bundle", "."))
    return 0


def _features(context: Context, args: "list[str]") -> int:
    from ketch.runtime import oci_report

    parse(Flags(), args)
    _say(oci_report.pretty(oci_report.features()))
    return 0


COMMANDS: "dict[str, Callable[[Context, list[str]], int]]" = {
    "create": _create,
    "delete": _delete,
    "exec": _exec,
    "features": _features,
    "kill": _kill,
    "list": _list,
    "pause": _pause,
    "ps": _ps,
    "resume": _resume,
    "run": _run,
    "spec": _spec,
    "start": _start,
    "state": _state,
    "update": _update,
}

_BECOME_CONTAINERS = frozenset(("create", "run", "exec"))  # a process of ours becomes theirs


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _usage() -> str:
    return "usage: ketch-runtime [--root DIR] [--log FILE] [--log-format text|json] COMMAND …\n" + (
        "commands: " + ", ".join(COMMANDS)
    )


def main(argv: "list[str] | None" = None) -> int:
    """The program; ``argv`` without its name. Returns the exit status."""
    log = Log()
    try:
        given = parse(_GLOBAL, sys.argv[1:] if argv is None else argv)
        log = Log(given.value("log"), given.value("log-format", "text"), "debug" in given.on)
        if argv is None and given.words and given.words[0] in _BECOME_CONTAINERS:
            from ketch.runtime import interpreter

            _need_root()
            interpreter.seal()
        return _dispatch(given, log)
    except KetchError as error:
        log.error(error.message)
    except OSError as error:
        where = f": {os.fsdecode(error.filename)}" if error.filename else ""
        log.error(f"{errno_text(error)}{where}")
    except Exception as error:  # the caller reads the log, not a traceback
        log.error(f"unexpected {type(error).__name__}: {error}")
    return 1


def _dispatch(given: Given, log: Log) -> int:
    if "version" in given.on:
        _say(f"ketch-runtime version {__version__}\nspec: {OCI_VERSION}")
        return 0
    if "help" in given.on or not given.words:
        _say(_usage())
        return 0 if "help" in given.on else 1
    _refuse(given)
    name, *args = given.words
    command = COMMANDS.get(name)
    if command is None:
        raise Unsupported(f"no such command: {name}; there are {', '.join(COMMANDS)}")
    log.debug(f"{name} {' '.join(args)}")
    return command(Context(os.path.abspath(given.value("root", DEFAULT_ROOT)), log), args)


def _refuse(given: Given) -> None:
    if "systemd-cgroup" in given.on:
        raise Unsupported("--systemd-cgroup is not supported: cgroups are made in cgroupfs")
    if given.value("rootless", "auto").lower() not in ("auto", "false", "0", "f"):
        raise Unsupported("--rootless is not supported")


def _need_root() -> None:
    if os.geteuid() != 0:
        raise Forbidden(
            "ketch-runtime needs root: namespaces, mounts and cgroups can't be made else"
        )
