"""Entry of the ``ketch`` program: global flags, dispatch, errors to exit codes.

This module and what it imports are on the path of every command: 12 ms at most over a bare
interpreter, so nothing here imports more than it must.
"""

import gc
import posix
import sys

from ketch.cli import commands, exits
from ketch.cli.flags import CountError, Failure, Flag, FlagError, HelpWanted, UsageError, parse
from ketch.client.address import DEFAULT, Address
from ketch.errors import KetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

LEVELS = ("debug", "info", "warn", "error", "fatal", "panic", "trace", "warning")
GLOBAL_FLAGS = (
    Flag("config", "", "text", "Location of client config files", "", values="files"),
    Flag("context", "c", "text", "Name of the context to use (overrides DOCKER_HOST and the "
         "default context set with 'ketch context use')", "", values="contexts"),
    Flag("debug", "D", "switch", "Show the requests that are made"),
    Flag("host", "H", "list", "Engine to talk to: unix:///path, tcp://host:port, ssh://host"),
    Flag("log-level", "l", "text", "Set the logging level", "info", values=LEVELS[:5]),
    Flag("tls", "", "switch", "Use TLS; implied by --tlsverify"),
    Flag("tlscacert", "", "text", "Trust certs signed only by this CA", "", values="files"),
    Flag("tlscert", "", "text", "Path to TLS certificate file", "", values="files"),
    Flag("tlskey", "", "text", "Path to TLS key file", "", values="files"),
    Flag("tlsverify", "", "switch", "Use TLS and verify the remote"),
    Flag("version", "v", "switch", "Print version information and quit"),
)  # fmt: skip


GARBAGE = 20_000  # objects; one that runs for a moment leaves next to none that refer to each other


def program() -> None:
    """Be the program ``ketch``: run its command line and end the process."""
    gc.set_threshold(GARBAGE)
    code = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # nobody reads, or the disk is full
        code = code or exits.FAILED
    posix._exit(code)  # taking the interpreter down costs 3 ms and frees nothing that matters


def main(argv: "list[str] | None" = None) -> int:
    """Run one command line; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    _write_unicode()
    try:
        return exits.after_flush(_dispatch(words))
    except FlagError as error:
        sys.stderr.write(
            f"{error}\n\nUsage:  ketch [OPTIONS] COMMAND [ARG...]\n\n"
            "Run 'ketch --help' for more information\n"
        )
        return exits.USAGE
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        return exits.broken_pipe()


def _write_unicode() -> None:
    """Output is UTF-8 whatever the locale; bytes of file names come out as they went in."""
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors=errors)


def _dispatch(words: "list[str]") -> int:
    try:
        parsed = parse(GLOBAL_FLAGS, words, interspersed=False)
    except HelpWanted:
        return _help([])
    if parsed["version"]:
        from ketch import __version__

        sys.stdout.write(f"ketch version {__version__}\n")
        return 0
    if parsed["log-level"] not in LEVELS:
        sys.stderr.write(f"Unable to parse logging level: {parsed['log-level']}\n")
        return exits.FAILED
    if parsed["config"]:
        import os

        os.environ["DOCKER_CONFIG"] = parsed["config"]
    if parsed.words[:1] == [commands.COMPLETION]:
        from ketch.cli.complete import complete

        return complete(parsed.words[1:], GLOBAL_FLAGS)
    if not parsed.words or parsed.words[0] == "help":
        return _help(parsed.words[1:])
    words = commands.spelled(parsed.words)
    found = commands.find(words)
    return _run(*found, parsed) if found is not None else _unknown(words)


def _run(name: str, rest: "list[str]", globals_: "Parsed") -> int:
    """Import the command's module and call it; engine errors are printed as Docker does."""
    module_name, _, function_name = commands.COMMANDS[name][0].partition(":")
    module = __import__(f"ketch.cli.{module_name}", fromlist=[function_name])
    function: Callable[[Client, list[str]], int] = getattr(module, function_name)
    try:
        code = function(_client(name, globals_), rest)
        sys.stdout.flush()
        return code
    except HelpWanted:
        return _help(name.split())
    except UsageError as error:
        return _usage(name, module, error)
    except Failure as error:
        _tell(str(error))
        return error.code
    except KetchError as error:
        _tell(f"{exits.prefix(error)}{error}")
        return exits.FAILED
    except BrokenPipeError:
        raise
    except OSError as error:
        sys.stderr.write(f"{exits.of_system(name, error)}\n")
        return exits.FAILED


def _tell(error: str) -> None:
    """An error, which may quote what others wrote."""
    from ketch.cli.visible import visible

    sys.stderr.write(f"{visible(error)}\n")


def _client(name: str, globals_: "Parsed") -> "Client":
    """The door to the engine that the global flags and the environment say."""
    from ketch.cli.autostart import AutoClient

    if name.startswith(commands.WITHOUT_ENGINE):
        return AutoClient(Address(DEFAULT), may_start=False)
    from ketch.client.endpoint import from_environment

    hosts = globals_["host"]
    if len(hosts) > 1:
        raise Failure("Specify only one -H")
    tls = None
    if not globals_.given.isdisjoint(("tls", "tlsverify", "tlscacert", "tlscert", "tlskey")):
        from ketch.cli import tls_flags

        tls = tls_flags.of(globals_)
    address = from_environment(hosts[0] if hosts else "", globals_["context"], tls)
    client = AutoClient(address, may_start=not hosts)
    client.says_what_it_does = globals_["debug"] or globals_["log-level"] in ("debug", "trace")
    return client


def _usage(name: str, module: object, error: UsageError) -> int:
    """Say what is wrong with the command line, in the form that docker has for it."""
    if isinstance(error, FlagError):
        from ketch.cli import help

        usage = help.usage_line(name, help.find(name, module)[0])
        sys.stderr.write(f"{error}\n\n{usage}\n\nRun 'ketch {name} --help' for more information\n")
        return exits.USAGE
    if isinstance(error, CountError) or str(error).startswith("'ketch "):
        from ketch.cli import help

        usage = help.usage_line(name, help.find(name, module)[0])
        _, _, rule = str(error).removeprefix("'").partition("' ")
        verb = "See" if "at least" in rule and "at most" not in rule else "Run"
        sys.stderr.write(
            f"ketch: 'ketch {name}' {rule}\n\n{usage}\n\n"
            f"{verb} 'ketch {name} --help' for more information\n"
        )
        return exits.FAILED
    sys.stderr.write(f"{error}\n")
    return exits.FAILED


def _unknown(words: "list[str]") -> int:
    """Words that are no command: the group's help, why there is none, or a guess."""
    group = commands.group_of(words)
    rest = words[group.count(" ") + 1 :] if group else words
    if group and (not rest or rest[0] in ("--help", "-h", "help")):
        return _help(group.split())
    if reason := commands.refusal(words):
        sys.stderr.write(reason + "\n")
        return exits.FAILED
    import difflib

    asked = f"{group} {rest[0]}".lstrip()
    if group and rest[0].startswith("-"):
        raise FlagError(f"unknown flag: {rest[0]}")
    close = difflib.get_close_matches(asked, [*commands.COMMANDS, *commands.GROUPS], 1)
    hint = f"\n\nDid you mean 'ketch {close[0]}'?" if close else ""
    usage = f"\n\nUsage:  ketch {group}" if group else ""
    sys.stderr.write(
        f"ketch: unknown command: ketch {asked}{hint}{usage}\n\n"
        f"Run 'ketch {group + ' ' if group else ''}--help' for more information\n"
    )
    return exits.FAILED


def _help(words: "list[str]") -> int:
    from ketch.cli import help

    return help.show(words, GLOBAL_FLAGS)
