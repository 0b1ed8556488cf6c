"""Help pages: of the program, of a group, of a command."""

import sys

from ketch.cli import commands
from ketch.cli.examples import EXAMPLES
from ketch.cli.flags import Flag
from ketch.cli.help_sections import REST, SECTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

COMMON = (
    "run", "exec", "ps", "build", "pull", "push", "images", "logs", "login", "logout", "search",
    "version", "info",
)  # fmt: skip
NARROWEST = 60
WIDEST = 110


def width() -> int:
    """Columns to write in."""
    from ketch.cli import terminal

    columns = terminal.size()[1] or 80
    return min(max(columns, NARROWEST), WIDEST)


def usage_line(name: str, usage: str) -> str:
    """``Usage:  ketch ps [OPTIONS]``; further forms on further lines."""
    first, *others = usage.split("\n")
    return "\n".join([f"Usage:  ketch {name} {first}".rstrip(), *[f"        {o}" for o in others]])


def find(name: str, module: "Any") -> "tuple[str, tuple[Flag, ...]]":
    """(usage, flags) of a command."""
    function = commands.COMMANDS[name][0].partition(":")[2]
    usage, flags = module.HELP[function]
    return usage, tuple(flags)


def of_command(name: str, module: "Any") -> str:
    """A whole page."""
    usage, flags = find(name, module)
    parts = [usage_line(name, usage), "", commands.COMMANDS[name][1]]
    names = commands.names_of(name)
    if len(names) > 1:
        parts += ["", "Aliases:", "  " + ", ".join(f"ketch {other}" for other in names)]
    if examples := EXAMPLES.get(commands.COMMANDS[name][0]):
        parts += ["", "Examples:", *[f"  {line}" for line in examples]]
    for title, some in _sections(commands.COMMANDS[name][0], flags):
        parts += ["", f"{title}:", describe(some, flags)]
    return "\n".join(parts) + "\n"


def _sections(place: str, flags: "tuple[Flag, ...]") -> "list[tuple[str, list[Flag]]]":
    """Flags under the titles that they belong to, in the order of the table."""
    table = SECTIONS.get(place)
    if table is None:
        return [("Options", sorted(flags, key=lambda flag: flag.name))] if flags else []
    by_name = {flag.name: flag for flag in flags}
    found = [
        (title, [by_name.pop(name) for name in names if name in by_name]) for title, names in table
    ]
    found.append((REST, sorted(by_name.values(), key=lambda flag: flag.name)))
    return [(title, some) for title, some in found if some]


def of_group(group: str) -> str:
    """The commands of a group."""
    rows = list(commands.under(group).items())
    return (
        f"Usage:  ketch {group} COMMAND\n\n{commands.GROUPS[group]}\n\nCommands:\n"
        f"{_rows(rows)}\n\nRun 'ketch {group} COMMAND --help' for more information on a command.\n"
    )


def of_program(flags: "Sequence[Flag]") -> str:
    """The first page."""
    single = {name: text for name, (_, text) in commands.COMMANDS.items() if " " not in name}
    rest = sorted(set(single) - set(COMMON))
    common = [(name, single[name]) for name in COMMON if name in single]
    return "\n".join(
        [
            "Usage:  ketch [OPTIONS] COMMAND",
            "",
            "Build and run containers, faster",
            "",
            "Common Commands:",
            _rows(common),
            "",
            "Management Commands:",
            _rows(
                [(name, text) for name, text in sorted(commands.GROUPS.items()) if " " not in name]
            ),
            "",
            "Commands:",
            _rows([(name, single[name]) for name in rest]),
            "",
            "Global Options:",
            describe(flags),
            "",
            "Run 'ketch COMMAND --help' for more information on a command.",
            "",
        ]
    )


def _rows(rows: "Sequence[tuple[str, str]]") -> str:
    longest = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"  {name:<{max(longest, 10)}}  {text}" for name, text in rows)


def describe(flags: "Sequence[Flag]", beside: "Sequence[Flag]" = ()) -> str:
    """A section of flags; as wide as one with those ``beside`` it would be."""
    import textwrap

    rows = [(_left(flag), _right(flag)) for flag in flags]
    indent = max((len(_left(flag)) for flag in (*flags, *beside)), default=0) + 3
    room = max(width() - indent, 30)
    out = []
    for left, right in rows:
        lines = textwrap.wrap(right, room) or [""]
        out.append(f"{left:<{indent}}{lines[0]}".rstrip())
        out.extend(" " * indent + line for line in lines[1:])
    return "\n".join(out)


def _left(flag: Flag) -> str:
    short = f"-{flag.short}, " if flag.short else "    "
    return f"  {short}--{flag.name} {flag.type}".rstrip()


def _right(flag: Flag) -> str:
    if flag.kind == "switch":
        return f"{flag.help} (default true)" if flag.default else flag.help
    if flag.default in (None, "", 0, [], ()):
        return flag.help
    default = f'"{flag.default}"' if isinstance(flag.default, str) else flag.default
    return f"{flag.help} (default {default})"


def show(words: "list[str]", flags: "Sequence[Flag]") -> int:
    """``ketch help [COMMAND]``."""
    if not words:
        sys.stdout.write(of_program(flags))
        return 0
    words = commands.spelled(words)
    if found := commands.find(words):
        module = commands.module_of(found[0])
        sys.stdout.write(of_command(found[0], module))
        return 0
    if (group := " ".join(words)) in commands.GROUPS:
        sys.stdout.write(of_group(group))
        return 0
    if reason := commands.refusal(words):
        sys.stderr.write(reason + "\n")
        return 1
    sys.stderr.write(f"unknown help topic: {' '.join(words)}\n")
    return 1
