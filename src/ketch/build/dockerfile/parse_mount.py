"""``--mount`` of RUN (Dockerfile reference, "RUN --mount")."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import msgspec

from ketch import sizes
from ketch.build.dockerfile.ast import RunMount
from ketch.build.dockerfile.cursor import Cursor
from ketch.build.dockerfile.source import DockerfileError, Range, did_you_mean
from ketch.build.dockerfile.words import Flag
from ketch.errors import InvalidParameter

_COMMON = {"type", "target", "dst", "destination", "readonly", "ro", "readwrite", "rw"}
_KEYS = {
    "bind": {*_COMMON, "source", "src", "from"},
    "cache": {*_COMMON, "source", "src", "from", "id", "sharing", "mode", "uid", "gid"},
    "tmpfs": {*_COMMON, "size"},
    "secret": {
        *("type", "target", "dst", "destination", "source", "src"),
        *("id", "required", "mode", "uid", "gid", "env"),
    },
    "ssh": {
        *("type", "target", "dst", "destination", "source", "src"),
        *("id", "required", "mode", "uid", "gid"),
    },
}
_ACCESS = {"readonly", "ro", "readwrite", "rw"}
_IDLE = {  # what Docker takes though it means nothing for mounts of that type
    "bind": {"id", "env"},
    "cache": {"env"},
    "tmpfs": {"id", "env", "from"},
    "secret": _ACCESS,
    "ssh": {*_ACCESS, "from", "env"},
}
_ALIASES = {"dst": "target", "destination": "target", "src": "source", "from": "from_"}
_SHARING = ("shared", "private", "locked")
_LARGEST_ID = 0xFFFFFFFF
_READ_EARLY = {
    *("type", "ro", "readonly", "rw", "readwrite", "required", "sharing"),
    *("uid", "gid", "mode", "size"),
}
Pairs = list[tuple[str, str | None]]
Fault = Callable[[str], DockerfileError]


def parse_mount(cursor: Cursor, flag: Flag) -> RunMount:
    """One flag's value: words separated by commas, quoted as in CSV; raises ``DockerfileError``
    when they are not. What they say matters only where the step is needed: ``RunMount.fault``."""

    def fault(reason: str) -> DockerfileError:
        return cursor.error(reason, flag.start, flag.end)

    pairs = _pairs(flag.value or "", fault)
    known = [pair for pair in pairs if not _is_open(*pair)]
    kind_is_open = any(_is_open(*pair) for pair in pairs if pair[0] == "type")
    place = cursor.line.range(flag.start, flag.end)
    try:
        mount = _Reader(fault, kind_is_open).read(known, place)
    except DockerfileError as error:
        return RunMount(place=place, fault=error)
    if len(known) == len(pairs):
        return mount
    return msgspec.structs.replace(mount, pending=tuple(pairs))


def settle(mount: RunMount, expand: Callable[[str], str], fault: Fault) -> RunMount:
    """With the values of variables where only words of a language of their own can be; raises what
    ``fault`` makes of a reason."""
    if mount.fault is not None:
        raise mount.fault
    if not mount.pending:
        return mount
    pairs = [
        (key, expand(value) if value is not None and _is_open(key, value) else value)
        for key, value in mount.pending
    ]
    return _Reader(fault).read(pairs, mount.place)


def _is_open(key: str, value: str | None) -> bool:
    return key in _READ_EARLY and "$" in (value or "")


def _pairs(text: str, fault: Fault) -> Pairs:
    try:
        (words,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as error:
        raise fault(f"failed to parse csv mounts: {error}") from None
    pairs: Pairs = []
    for word in words:
        key, equals, value = word.partition("=")
        pairs.append((key.strip().lower(), value if equals else None))
    return pairs


class _Reader:
    """Reads one ``--mount``."""

    def __init__(self, fault: Fault, kind_is_open: bool = False) -> None:
        self._error = fault
        self._kind_is_open = kind_is_open

    def read(self, pairs: Pairs, place: Range) -> RunMount:
        kind = (next((value for key, value in pairs if key == "type"), "bind") or "").lower()
        if kind not in _KEYS:
            raise self._error(f'unsupported mount type "{kind}"{did_you_mean(kind, _KEYS)}')
        kind = "" if self._kind_is_open else kind
        found: dict[str, Any] = {"type": kind, "place": place}
        idle = _IDLE.get(kind, set())
        for key, value in pairs:
            if key in idle:
                self._pass(found, key, value)
                continue
            if key not in (_KEYS[kind] if kind else set().union(*_KEYS.values())):
                raise self._unexpected(key, value, kind)
            if key != "type":
                self._set(found, key, value)
        self._check(found)
        return RunMount(**found)

    def _pass(self, found: dict[str, Any], key: str, value: str | None) -> None:
        """A key without meaning: remembered, unless it asks for what is so anyway."""
        harmless = False
        if key in _ACCESS:
            on = self._boolean(key, value)
            harmless = on if key in ("ro", "readonly") else not on
        elif value is None:
            raise self._error(f"invalid field '{key}' must be a key=value pair")
        if not harmless:
            found["idle"] = (*found.get("idle", ()), key)

    def _set(self, found: dict[str, Any], key: str, value: str | None) -> None:
        if key in ("ro", "readonly", "rw", "readwrite"):
            on = self._boolean(key, value)
            found["writable"] = on if key in ("rw", "readwrite") else not on
        elif key == "required":
            found["required"] = self._boolean(key, value)
        elif value is None:
            raise self._error(f"invalid field '{key}' must be a key=value pair")
        elif key in ("uid", "gid"):
            found[key] = self._number(key, value, 10)
        elif key == "mode":
            found["mode"] = self._number(key, value, 8)
        elif key == "size":
            found["size"] = self._size(value)
        elif key == "sharing":
            if value.lower() not in _SHARING:
                hint = did_you_mean(value.lower(), _SHARING)
                raise self._error(f'unsupported sharing value "{value}"{hint}')
            found["sharing"] = value.lower()
        else:
            found[_ALIASES.get(key, key)] = value

    def _boolean(self, key: str, value: str | None) -> bool:
        word = {None: True, "true": True, "1": True, "false": False, "0": False}.get(value)
        if word is None:
            raise self._error(f"invalid value for {key}: {value}")
        return word

    def _number(self, key: str, value: str, base: int) -> int:
        digits = "01234567" if base == 8 else "0123456789"
        known = value and len(value) <= 11 and not set(value) - set(digits)
        if not known or int(value, base) > _LARGEST_ID:
            raise self._error(f"invalid value {value} for {key}")
        return int(value, base)

    def _size(self, value: str) -> int:
        try:
            return sizes.parse(value)
        except InvalidParameter:
            raise self._error(f"invalid value for size: {value}") from None

    def _check(self, found: dict[str, Any]) -> None:
        kind = found["type"]
        if kind == "cache" and found.get("source") and not found.get("from_"):
            raise self._error("the source of a cache mount is a path in what from names: give it")
        if "$" in found.get("from_", ""):
            raise self._error(
                f"'{found['from_']}' variable expansion is not supported for from, define a new "
                "stage with FROM using ARG from global scope as a workaround"
            )
        if kind == "secret" and not (found.get("id") or found.get("source") or found.get("target")):
            raise self._error("secret mounts need an id, a source or a target")

    def _unexpected(self, key: str, value: str | None, kind: str) -> DockerfileError:
        known = set().union(*_KEYS.values())
        if key in known and kind:
            return self._error(f"the key '{key}' is not for mounts of type {kind}")
        if not key:
            return self._error("an empty field: write key=value,key=value without blanks")
        word = key if value is None else f"{key}={value}"
        return self._error(f"unexpected key '{key}' in '{word}'{did_you_mean(key, known)}")
