"""Filters of the build history (``buildx history ls --filter``).

One filter is a list of conditions, separated by commas, that must all hold: ``ref``, ``status`` and
``repository`` are compared with ``==``, ``!=`` and ``~=`` (a regular expression), ``startedAt`` and
``completedAt`` with an instant (RFC 3339, or so long ago), ``duration`` with a duration. Of several
filters one must let a record through.
"""

from __future__ import annotations

import operator
import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ketch.build.dockerfile.durations import parse_duration
from ketch.engine import patterns
from ketch.errors import InvalidParameter
from ketch.oci.image import parse_time

if TYPE_CHECKING:
    from ketch.engine.builder.history.records import BuildRecord

Passes = Callable[["BuildRecord"], bool]
_TEXT = re.compile(r"(ref|status|repository)(==|!=|~=)(.*)", re.DOTALL)
_AMOUNT = re.compile(r"(startedAt|completedAt|duration)(<=|>=|<|>)(.*)", re.DOTALL)
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def passes_all(filters: Sequence[str]) -> Passes:
    """Whether a record is wanted; raises ``InvalidParameter``."""
    parsed = [[_condition(word) for word in text.split(",")] for text in filters if text]

    def passes(record: BuildRecord) -> bool:
        return not parsed or any(all(one(record) for one in each) for each in parsed)

    return passes


def _condition(word: str) -> Passes:
    if match := _TEXT.fullmatch(word):
        return _text(match[1], match[2], match[3].strip('"'))
    if match := _AMOUNT.fullmatch(word):
        return _amount(match[1], match[2], match[3])
    raise InvalidParameter(
        f"the filter {word!r:.200} of the build history is not supported: ref, status, repository,"
        " startedAt, completedAt, duration"
    )


def _text(key: str, sign: str, value: str) -> Passes:
    if sign == "~=":
        patterns.check(value)

    def passes(record: BuildRecord) -> bool:
        text = {
            "ref": record.ref,
            "status": record.status,
            "repository": record.attributes.get("vcs:source", ""),
        }[key]
        if sign == "~=":
            return patterns.is_found(value, text)
        return (text == value) == (sign == "==")

    return passes


def _amount(key: str, sign: str, value: str) -> Passes:
    compare, now = _COMPARE[sign], time.time_ns()
    wanted = _number(key, value, now)

    def passes(record: BuildRecord) -> bool:
        if key == "startedAt":
            return compare(record.started_at, wanted)
        if key == "completedAt":
            return bool(record.completed_at) and compare(record.completed_at, wanted)
        return compare((record.completed_at or now) - record.started_at, wanted)

    return passes


def _number(key: str, value: str, now: int) -> int:
    try:
        length = parse_duration(value)
        return length if key == "duration" else now - length
    except ValueError:
        pass
    found = parse_time(value) if key != "duration" else 0
    if not found:
        raise InvalidParameter(f"invalid filter {key}: {value!r:.100} is no time")
    return found
