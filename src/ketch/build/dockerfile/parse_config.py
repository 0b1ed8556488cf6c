"""Parsers of the instructions that only change the image's configuration."""

from __future__ import annotations

import re
from collections.abc import Callable

from ketch.build.dockerfile.ast import (
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from ketch.build.dockerfile.cursor import Cursor, Flags
from ketch.build.dockerfile.durations import parse_duration

_MILLISECOND = 1_000_000
_BLANKS = re.compile(r"\s+")
Pairs = tuple[tuple[str, str], ...]


def parse_env(cursor: Cursor) -> Env:
    """``ENV key=value…`` or the old ``ENV key value with blanks``."""
    cursor.no_flags()
    return Env(line=cursor.line, pairs=_pairs(cursor))


def parse_label(cursor: Cursor) -> Label:
    """``LABEL key=value…``."""
    cursor.no_flags()
    return Label(line=cursor.line, pairs=_pairs(cursor))


def _pairs(cursor: Cursor) -> Pairs:
    cursor.need()
    words = cursor.quoted_words()
    if "=" not in words[0][1]:
        return _old_pair(cursor)
    pairs = []
    for start, word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise cursor.error(
                f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value',
                start,
                start + len(word),
            )
        if not key:
            raise cursor.error(f"{cursor.name} names can not be blank", start, start + len(word))
        pairs.append((key, value))
    return tuple(pairs)


def _old_pair(cursor: Cursor) -> Pairs:
    parts = _BLANKS.split(cursor.rest, maxsplit=1)
    if len(parts) < 2:
        raise cursor.error(f"{cursor.name} must have two arguments: {cursor.name} name=value")
    return ((parts[0], parts[1]),)


def parse_cmd(cursor: Cursor) -> Cmd:
    """``CMD``; an empty list is no command, and nothing at all an empty line for the shell."""
    cursor.no_flags()
    command = cursor.command()
    return Cmd(line=cursor.line, comment=cursor.comment, command=command)


def parse_entrypoint(cursor: Cursor) -> Entrypoint:
    """``ENTRYPOINT``; ``ENTRYPOINT []`` resets it."""
    cursor.no_flags()
    command = cursor.command()
    return Entrypoint(line=cursor.line, comment=cursor.comment, command=command)


def parse_shell(cursor: Cursor) -> Shell:
    """``SHELL ["…"]``, exec form only."""
    cursor.no_flags()
    cursor.need()
    words = cursor.json_words()
    if words is None:
        raise cursor.error("SHELL requires the arguments to be in JSON form")
    if not words:
        raise cursor.error("SHELL requires at least one argument")
    return Shell(line=cursor.line, comment=cursor.comment, words=words)


def parse_expose(cursor: Cursor) -> Expose:
    """``EXPOSE port…``."""
    cursor.no_flags()
    cursor.need()
    return Expose(line=cursor.line, ports=tuple(word for _, word in cursor.blank_words()))


def parse_volume(cursor: Cursor) -> Volume:
    """``VOLUME path…`` or a JSON list."""
    cursor.no_flags()
    cursor.need()
    paths = cursor.json_words()
    if paths is None:
        paths = tuple(word for _, word in cursor.blank_words())
    if not paths:
        raise cursor.error("VOLUME requires at least one argument")
    if any(not path.strip() for path in paths):
        raise cursor.error("VOLUME specified can not be an empty string")
    return Volume(line=cursor.line, comment=cursor.comment, paths=paths)


def parse_user(cursor: Cursor) -> User:
    """``USER name[:group]``."""
    return User(line=cursor.line, user=_one(cursor))


def parse_workdir(cursor: Cursor) -> Workdir:
    """``WORKDIR path``; blanks belong to the path."""
    return Workdir(line=cursor.line, path=_one(cursor))


def parse_stopsignal(cursor: Cursor) -> Stopsignal:
    """``STOPSIGNAL signal``."""
    return Stopsignal(line=cursor.line, signal=_one(cursor))


def parse_maintainer(cursor: Cursor) -> Maintainer:
    """``MAINTAINER name``."""
    return Maintainer(line=cursor.line, author=_one(cursor))


def _one(cursor: Cursor) -> str:
    cursor.no_flags()
    cursor.need("exactly one argument")
    return cursor.rest


def parse_healthcheck(cursor: Cursor) -> Healthcheck:
    """``HEALTHCHECK NONE`` or ``HEALTHCHECK [flags] CMD …``."""
    names = ("interval", "timeout", "start-period", "start-interval", "retries")
    flags = cursor.flags(names)
    cursor.need()
    kind_start, kind = cursor.blank_words()[0]
    after = kind_start + len(kind)
    if kind.upper() == "NONE":
        if cursor.line.text[after:].strip():
            raise cursor.error("HEALTHCHECK NONE takes no arguments", after)
        return Healthcheck(line=cursor.line, test=("NONE",))
    if kind.upper() != "CMD":
        raise cursor.error(
            f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)', kind_start, after
        )
    cursor.start = after + len(cursor.line.text[after:]) - len(cursor.line.text[after:].lstrip())
    command = cursor.command()
    if not any(command.words):
        raise cursor.error("Missing command after HEALTHCHECK CMD", kind_start, after)
    durations = {name.replace("-", "_"): _duration(cursor, flags, name) for name in names[:4]}
    return Healthcheck(
        line=cursor.line,
        comment=cursor.comment,
        test=("CMD-SHELL" if command.shell else "CMD", *command.words),
        retries=_retries(cursor, flags),
        **durations,
    )


def _duration(cursor: Cursor, flags: Flags, name: str) -> int:
    if not flags.text(name):
        return 0
    (flag,) = flags.all(name)
    try:
        value = parse_duration(flag.value or "")
    except ValueError as error:
        raise cursor.error(f"--{name}: {error}", flag.start, flag.end) from None
    if value and value < _MILLISECOND:
        raise cursor.error(f"--{name} cannot be less than 1ms", flag.start, flag.end)
    return value


def _retries(cursor: Cursor, flags: Flags) -> int:
    if not flags.text("retries"):
        return 0
    (flag,) = flags.all("retries")
    value = flag.value or ""
    digits = value.removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise cursor.error("--retries must be a number that is not negative", flag.start, flag.end)
    return int(value)


CONFIG_PARSERS: dict[str, Callable[[Cursor], Instruction]] = {
    "ENV": parse_env,
    "LABEL": parse_label,
    "CMD": parse_cmd,
    "ENTRYPOINT": parse_entrypoint,
    "SHELL": parse_shell,
    "EXPOSE": parse_expose,
    "VOLUME": parse_volume,
    "USER": parse_user,
    "WORKDIR": parse_workdir,
    "STOPSIGNAL": parse_stopsignal,
    "MAINTAINER": parse_maintainer,
    "HEALTHCHECK": parse_healthcheck,
}
