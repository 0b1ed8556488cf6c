"""``--mount`` of RUN (Dockerfile reference, "RUN --mount")."""

from __future__ import annotations

import csv
from typing import Any

from ketch import sizes
from ketch.build.ast import RunMount
from ketch.build.cursor import Cursor
from ketch.build.source import did_you_mean
from ketch.build.words import Flag
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
_ALIASES = {"dst": "target", "destination": "target", "src": "source", "from": "from_"}
_SHARING = ("shared", "private", "locked")


def parse_mount(cursor: Cursor, flag: Flag) -> RunMount:
    """One flag's value: words separated by commas, quoted as in CSV; raises ``DockerfileError``."""
    return _Reader(cursor, flag).read()


class _Reader:
    """Reads one ``--mount``; every error points at the flag."""

    def __init__(self, cursor: Cursor, flag: Flag) -> None:
        self._cursor = cursor
        self._flag = flag

    def read(self) -> RunMount:
        pairs = self._pairs()
        kind = (next((value for key, value in pairs if key == "type"), "bind") or "").lower()
        if kind not in _KEYS:
            raise self._error(f'unsupported mount type "{kind}"{did_you_mean(kind, _KEYS)}')
        place = self._cursor.line.range(self._flag.start, self._flag.end)
        found: dict[str, Any] = {"type": kind, "place": place}
        for key, value in pairs:
            if key not in _KEYS[kind]:
                raise self._unexpected(key, value, kind)
            if key != "type":
                self._set(found, key, value)
        self._check(found)
        return RunMount(**found)

    def _pairs(self) -> list[tuple[str, str | None]]:
        try:
            (words,) = csv.reader([self._flag.value or ""], strict=True)
        except (csv.Error, ValueError) as error:
            raise self._error(f"failed to parse csv mounts: {error}") from None
        pairs: list[tuple[str, str | None]] = []
        for word in words:
            key, equals, value = word.partition("=")
            pairs.append((key.strip().lower(), value if equals else None))
        return pairs

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
        if not value or len(value) > 10 or set(value) - set(digits):
            raise self._error(f"invalid value {value} for {key}")
        return int(value, base)

    def _size(self, value: str) -> int:
        try:
            return sizes.parse(value)
        except InvalidParameter:
            raise self._error(f"invalid value for size: {value}") from None

    def _check(self, found: dict[str, Any]) -> None:
        kind = found["type"]
        if kind in ("bind", "cache", "tmpfs") and not found.get("target"):
            raise self._error(f"{kind} mounts need a target")
        if "$" in found.get("from_", ""):
            raise self._error(
                f"'{found['from_']}' variable expansion is not supported for from, define a new "
                "stage with FROM using ARG from global scope as a workaround"
            )
        if kind == "secret" and not (found.get("id") or found.get("source") or found.get("target")):
            raise self._error("secret mounts need an id, a source or a target")

    def _unexpected(self, key: str, value: str | None, kind: str) -> Exception:
        known = set().union(*_KEYS.values())
        if key in known:
            return self._error(f"the key '{key}' is not for mounts of type {kind}")
        word = key if value is None else f"{key}={value}"
        return self._error(f"unexpected key '{key}' in '{word}'{did_you_mean(key, known)}")

    def _error(self, reason: str) -> Exception:
        return self._cursor.error(reason, self._flag.start, self._flag.end)
