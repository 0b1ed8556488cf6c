"""Entry of the ``ketch`` program: global flags, dispatch, errors to exit codes.

This module and what it imports are on the path of every command: 12 ms at most over a bare
interpreter, so nothing here imports more than it must.
"""

import sys

from ketch.cli import commands, exits
from ketch.cli.flags import Flag, HelpWanted, UsageError, parse
from ketch.client.address import DEFAULT, Address
from ketch.client.endpoint import from_environment
from ketch.errors import KetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ketch.client.api import Client

GLOBAL_FLAGS = (
    Flag("host", "H", "text", "Engine to talk to (unix:///path or tcp://host:port)", ""),
    Flag("version", "v", "switch", "Print version information and quit"),
    Flag("config", "", "text", "Location of client config files", ""),
)


def main(argv: "list[str] | None" = None) -> int:
    """Run one command line; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    try:
        return _dispatch(words)
    except UsageError as error:
        sys.stderr.write(f"ketch: {error}\n\nRun 'ketch --help' for more information\n")
        return exits.USAGE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return exits.FAILED


def _dispatch(words: "list[str]") -> int:
    try:
        parsed = parse(GLOBAL_FLAGS, words, interspersed=False)
    except HelpWanted:
        return _help()
    if parsed["version"]:
        from ketch import __version__

        sys.stdout.write(f"ketch version {__version__}\n")
        return 0
    if not parsed.words or parsed.words[0] == "help":
        return _help()
    found = commands.find(parsed.words)
    if found is None:
        return _unknown(parsed.words)
    name, rest = found
    return _run(name, rest, parsed["host"])


def _run(name: str, rest: "list[str]", host: str) -> int:
    """Import the command's module and call it; engine errors are printed as Docker does."""
    module_name, _, function_name = commands.COMMANDS[name][0].partition(":")
    module = __import__(f"ketch.cli.{module_name}", fromlist=[function_name])
    function: Callable[[Client, list[str]], int] = getattr(module, function_name)
    from ketch.cli.autostart import AutoClient

    try:
        local = name.startswith(commands.WITHOUT_ENGINE)
        address = Address(DEFAULT) if local else from_environment(host)
        return function(AutoClient(address, may_start=not host), rest)
    except HelpWanted:
        return _command_help(name, module)
    except UsageError as error:
        sys.stderr.write(f"{error}\n\nRun 'ketch {name} --help' for more information\n")
        return exits.USAGE
    except KetchError as error:
        sys.stderr.write(f"{_prefix(error)}{error}\n")
        return exits.FAILED
    except OSError as error:
        sys.stderr.write(f"ketch {name}: {error}\n")
        return exits.FAILED


def _prefix(error: KetchError) -> str:
    return "Error response from daemon: " if error.from_engine else ""


def _unknown(words: "list[str]") -> int:
    import difflib

    group = words[0] if words[0] in commands.GROUPS else ""
    asked = " ".join(words[:2]) if group and len(words) > 1 else words[0]
    if group and len(words) == 1:
        return _help(group)
    close = difflib.get_close_matches(asked, commands.COMMANDS, 1)
    hint = f" Did you mean 'ketch {close[0]}'?" if close else ""
    sys.stderr.write(f"ketch: '{asked}' is not a ketch command.{hint}\nSee 'ketch --help'\n")
    return exits.FAILED


def _help(group: str = "") -> int:
    """The list of commands; of one group when named."""
    from ketch.cli.flags import describe

    rows = [
        (name, text)
        for name, (_, text) in sorted(commands.COMMANDS.items())
        if (name.startswith(group + " ") if group else " " not in name)
    ]
    out = [f"Usage:  ketch {group + ' ' if group else '[OPTIONS] '}COMMAND", ""]
    out.append("Build and run containers, faster.\n\nCommands:")
    out.extend(f"  {name.removeprefix(group + ' '):<12}{text}" for name, text in rows)
    if not group:
        out.append("\nManagement commands:\n  " + ", ".join(commands.GROUPS))
        out.append("\nGlobal options:\n" + describe(GLOBAL_FLAGS))
    sys.stdout.write("\n".join(out) + "\n")
    return 0


def _command_help(name: str, module: object) -> int:
    """Help of one command, from its module's FLAGS and USAGE tables."""
    from ketch.cli.flags import describe

    function = commands.COMMANDS[name][0].partition(":")[2]
    usage, flags = module.HELP[function]  # type: ignore[attr-defined]
    sys.stdout.write(f"Usage:  ketch {name} {usage}\n\n{commands.COMMANDS[name][1]}\n")
    if flags:
        sys.stdout.write(f"\nOptions:\n{describe(flags)}\n")
    return 0
