"""Which networks a list or a prune means: Docker's filters over records (pure)."""

from __future__ import annotations

from collections.abc import Callable

from ketch.engine.filters import Filters, instant, labels_match, name_matches
from ketch.engine.networks.store import PREDEFINED
from ketch.engine.networks.values import NetworkRecord
from ketch.errors import InvalidParameter


def fits(record: NetworkRecord, filters: Filters, *, used: bool) -> bool:
    """Whether all of the filters let it through; ``used``: a container is in it."""
    _check(filters)
    dangling = not used and record.name not in PREDEFINED
    wanted = {key: values for key, values in filters.items() if values}
    if any((value in ("true", "1")) != dangling for value in wanted.pop("dangling", ())):
        return False
    return all(any(_TESTS[key](record, v) for v in values) for key, values in wanted.items())


def _check(filters: Filters) -> None:
    for key, words in _WORDS.items():
        for value in filters.get(key, ()):
            if value not in words:
                raise InvalidParameter(
                    f"invalid filter '{key}={value}': must be one of {', '.join(words)}"
                )


_WORDS = {"type": ("builtin", "custom"), "dangling": ("true", "1", "false", "0")}


_TESTS: dict[str, Callable[[NetworkRecord, str], bool]] = {
    "name": lambda record, value: name_matches(value, record.name),
    "id": lambda record, value: record.id.startswith(value),
    "driver": lambda record, value: value == record.driver,
    "scope": lambda record, value: value == "local",
    "type": lambda record, value: (record.name in PREDEFINED) == (value == "builtin"),
    "label": lambda record, value: labels_match(record.labels, (value,)),
    "label!": lambda record, value: not labels_match(record.labels, (value,)),
    "until": lambda record, value: record.created_at < instant(value),
}
