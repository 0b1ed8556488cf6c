"""Fields of profile JSON, read strictly: what is unknown or of a wrong type is refused by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ketch.errors import InvalidParameter
from ketch.runtime.seccomp.numbers import ARCHITECTURES
from ketch.runtime.seccomp.rules import Condition, Op, op_of

_LARGEST = (1 << 64) - 1
_ARGUMENT = frozenset(("index", "value", "valueTwo", "op"))


def fields(value: Any, what: str, known: Iterable[str]) -> dict[str, Any]:
    """``value`` as an object with no other members than ``known``; null ones are left out."""
    if not isinstance(value, dict):
        raise InvalidParameter(f"seccomp profile: {what} must be an object")
    for name in value:
        if name not in known:
            raise InvalidParameter(f"seccomp profile: unknown field '{name}' in {what}")
    return {name: member for name, member in value.items() if member is not None}


def items(value: Any, what: str) -> list[Any]:
    """``value`` as a list; a missing one is empty."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidParameter(f"seccomp profile: {what} must be a list")
    return value


def texts(value: Any, what: str) -> tuple[str, ...]:
    """``value`` as a list of texts."""
    return tuple(text(item, what) for item in items(value, what))


def text(value: Any, what: str) -> str:
    """``value`` as a text without NUL."""
    if not isinstance(value, str) or "\0" in value:
        raise InvalidParameter(f"seccomp profile: {what} must be text")
    return value


def number(value: Any, what: str, largest: int = _LARGEST) -> int:
    """``value`` as an integer from 0 to ``largest``."""
    if type(value) is not int or not 0 <= value <= largest:
        raise InvalidParameter(
            f"seccomp profile: {what} must be a number from 0 to {largest}, not {value!r:.40}"
        )
    return value


def optional_number(value: Any, what: str) -> int | None:
    """As ``number``, but may be missing."""
    return None if value is None else number(value, what)


def architectures(value: Any, what: str) -> tuple[str, ...]:
    """Names of ABIs as libseccomp spells them."""
    names = texts(value, what)
    for name in names:
        if name not in ARCHITECTURES:
            raise InvalidParameter(f"seccomp profile: unknown architecture '{name}'")
    return names


def conditions(value: Any) -> tuple[Condition, ...]:
    """``args`` of a rule."""
    return tuple(_condition(item) for item in items(value, "args"))


def _condition(value: Any) -> Condition:
    given = fields(value, "args", _ARGUMENT)
    index = number(given.get("index", 0), "index", 5)
    op = op_of(text(given.get("op"), "op"))
    first = number(given.get("value", 0), "value")
    second = number(given.get("valueTwo", 0), "valueTwo")
    if op is Op.MASKED_EQ:  # OCI: value is the mask, valueTwo what must remain
        return Condition(index, op, second, first)
    return Condition(index, op, first)
