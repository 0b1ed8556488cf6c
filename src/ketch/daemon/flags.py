"""Flags of ``ketchd``: the keys of ``daemon.json`` with two dashes in front.

Made from ``Settings``, so that file and flags can't drift apart. A list is a flag given several
times (``--host`` for ``hosts``, ``--label`` for ``labels``…), a dictionary ``--log-opt key=value``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from ketch.daemon.config import DEFAULT_FILE
from ketch.daemon.settings import Settings
from ketch.errors import InvalidParameter

_SHORT = {"-H": "--host", "-D": "--debug", "-G": "--group", "-p": "--pidfile", "-v": "--version"}
_SINGULAR = {
    "hosts": "host",
    "labels": "label",
    "log-opts": "log-opt",
    "registry-mirrors": "registry-mirror",
    "insecure-registries": "insecure-registry",
    "default-address-pools": "default-address-pool",
    "default-ulimits": "default-ulimit",
    "cdi-spec-dirs": "cdi-spec-dir",
    "runtimes": "add-runtime",
}


class CommandLine(NamedTuple):
    """What the arguments say."""

    flags: dict[str, Any]
    config_file: str = DEFAULT_FILE
    config_given: bool = False
    help: bool = False
    version: bool = False
    cleanup: bool = False


def _fields() -> dict[str, msgspec.structs.FieldInfo]:
    """Flag → field."""
    return {
        f"--{_SINGULAR.get(field.encode_name, field.encode_name)}": field
        for field in msgspec.structs.fields(Settings)
        if not isinstance(field.default, msgspec.Struct)
    }


def parse(arguments: Sequence[str]) -> CommandLine:
    """Raises ``InvalidParameter`` for an unknown flag or a missing or malformed value."""
    known = _fields()
    found = CommandLine({})
    waiting = list(arguments)
    while waiting:
        word, equals, value = waiting.pop(0).partition("=")
        word = _SHORT.get(word, word)
        if word in ("--help", "-h"):
            found = found._replace(help=True)
        elif word == "--version":
            found = found._replace(version=True)
        elif word == "--cleanup":
            found = found._replace(cleanup=True)
        elif word == "--config-file":
            path = value if equals else _value(word, waiting)
            found = found._replace(config_file=path, config_given=True)
        elif word in known:
            _take(found.flags, known[word], word, value if equals else None, waiting)
        else:
            raise InvalidParameter(f"unknown flag: {word} (see ketchd --help)")
    return found


def _value(word: str, waiting: list[str]) -> str:
    if not waiting:
        raise InvalidParameter(f"the flag {word} needs a value")
    return waiting.pop(0)


def _take(
    flags: dict[str, Any],
    field: msgspec.structs.FieldInfo,
    word: str,
    given: str | None,
    waiting: list[str],
) -> None:
    key, default = field.encode_name, field.default
    if isinstance(default, bool):
        flags[key] = _boolean(word, given)
        return
    value = _value(word, waiting) if given is None else given
    if key == "default-address-pools":
        flags.setdefault(key, []).append(_pool(value))
    elif key == "default-ulimits":
        name, _, limits = value.partition("=")
        soft, _, hard = limits.partition(":")
        numbers = _signed(word, soft), _signed(word, hard or soft)
        flags.setdefault(key, {})[name] = {"Soft": numbers[0], "Hard": numbers[1]}
    elif key == "runtimes":
        name, _, path = value.partition("=")
        flags.setdefault(key, {})[name] = {"path": path}
    elif key == "log-opts":
        name, _, text = value.partition("=")
        flags.setdefault(key, {})[name] = text
    elif isinstance(default, tuple):
        flags.setdefault(key, []).append(value)
    elif isinstance(default, int):
        flags[key] = _number(word, value)
    else:
        flags[key] = value


def _boolean(word: str, given: str | None) -> bool:
    if given is None or given in ("true", "1"):
        return True
    if given in ("false", "0"):
        return False
    raise InvalidParameter(f"the flag {word} is true or false, not {given!r}")


def _number(word: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise InvalidParameter(f"the flag {word} needs a whole number, not {value!r}")
    return int(value)


def _signed(word: str, value: str) -> int:
    return -_number(word, value[1:]) if value.startswith("-") else _number(word, value)


def _pool(value: str) -> dict[str, Any]:
    members = dict(part.partition("=")[::2] for part in value.split(","))
    size = members.get("size", "")
    if set(members) != {"base", "size"} or not size.isdigit():
        raise InvalidParameter(f"--default-address-pool {value!r}: it is base=10.0.0.0/8,size=24")
    return {"base": members["base"], "size": int(size)}


def usage() -> str:
    """The text of ``--help``."""
    lines = [
        "Usage: ketchd [OPTIONS]",
        "",
        "The daemon of ketch. Every option may also stand in the configuration file.",
        "",
        f"      --config-file path   configuration (default {DEFAULT_FILE})",
        "      --cleanup            remove launcher, bridges, rules and cgroups, then end",
        "  -h, --help               this text",
        "  -v, --version            print the version",
    ]
    short = {long: letter for letter, long in _SHORT.items()}
    for flag, field in _fields().items():
        letter = f"{short[flag]}, " if flag in short else "    "
        lines.append(f"  {letter}{flag}{_kind(field.default)}")
    return "\n".join(lines) + "\n"


def _kind(default: Any) -> str:
    if isinstance(default, bool):
        return " (default true)" if default else ""
    kind = {tuple: " value, may be repeated", dict: " key=value", int: " number"}
    shown = f" (default {default})" if default not in ("", (), {}) else ""
    return f"{kind.get(type(default), ' string')}{shown}"
