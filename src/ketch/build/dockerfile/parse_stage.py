"""Parsers of FROM, ARG, RUN and ONBUILD."""

from __future__ import annotations

import re
from collections.abc import Callable

from ketch.build.dockerfile.ast import Arg, From, Instruction, Onbuild, Run
from ketch.build.dockerfile.cursor import Cursor
from ketch.build.dockerfile.lexer import HEREDOC_INSTRUCTIONS
from ketch.build.dockerfile.parse_mount import parse_mount

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
_RUN_NETWORKS = ("default", "none", "host")
_SECURITY = ("sandbox", "insecure")


def parse_from(cursor: Cursor) -> From:
    """``FROM [--platform=…] image [AS name]``; words from a ``#`` on can only be a comment."""
    flags = cursor.flags(("platform",))
    words = cursor.blank_words()
    for index, (start, word) in enumerate(words):
        if index and word.startswith("#"):
            cursor.set_comment(start)
            words = words[:index]
            break
    texts = [word for _, word in words]
    if len(texts) not in (1, 3) or (len(texts) == 3 and texts[1].upper() != "AS"):
        raise cursor.error("FROM requires either one or three arguments: FROM image [AS name]")
    alias = texts[2].lower() if len(texts) == 3 else ""
    if alias and not _STAGE_NAME.fullmatch(alias):
        start, word = words[2]
        raise cursor.error(
            f'invalid name for build stage: "{word}", name can\'t start with a number or contain '
            "symbols",
            start,
            start + len(word),
        )
    return From(
        line=cursor.line,
        comment=cursor.comment,
        image=texts[0],
        platform=flags.text("platform"),
        alias=alias,
    )


def parse_arg(cursor: Cursor) -> Arg:
    """``ARG name[=default]…``."""
    cursor.no_flags()
    cursor.need()
    pairs: list[tuple[str, str | None]] = []
    for start, word in cursor.quoted_words():
        name, equals, value = word.partition("=")
        if not name:
            raise cursor.error("ARG names can not be blank", start, start + len(word))
        pairs.append((name, value if equals else None))
    return Arg(line=cursor.line, pairs=tuple(pairs))


def parse_run(cursor: Cursor) -> Run:
    """``RUN``, in shell form, exec form or with here-documents."""
    flags = cursor.flags(("mount*", "network", "security", "device*"))
    for flag in flags.all("device"):
        raise cursor.error("RUN --device is not supported by ketch", flag.start, flag.end)
    command = cursor.command()
    if not command.words:
        raise cursor.error("RUN requires at least one argument: the list is empty")
    return Run(
        line=cursor.line,
        comment=cursor.comment,
        command=command,
        heredocs=cursor.heredocs if command.shell else (),
        network=flags.one_of("network", _RUN_NETWORKS),
        security=flags.one_of("security", _SECURITY),
        mounts=tuple(parse_mount(cursor, flag) for flag in flags.all("mount")),
    )


def parse_onbuild(cursor: Cursor) -> Onbuild:
    """``ONBUILD instruction``; the parser looks into the instruction itself."""
    cursor.no_flags()
    cursor.need()
    name = cursor.rest.split()[0].upper()
    if name == "ONBUILD":
        raise cursor.error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if name in ("FROM", "MAINTAINER"):
        raise cursor.error(f"{name} isn't allowed as an ONBUILD trigger")
    trigger = cursor.rest
    if name in HEREDOC_INSTRUCTIONS:
        trigger += "".join(f"\n{doc.content}{doc.name}" for doc in cursor.heredocs)
    return Onbuild(line=cursor.line, trigger=trigger)


STAGE_PARSERS: dict[str, Callable[[Cursor], Instruction]] = {
    "FROM": parse_from,
    "ARG": parse_arg,
    "RUN": parse_run,
    "ONBUILD": parse_onbuild,
}
