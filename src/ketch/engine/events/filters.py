"""Which events a filter lets through (pure). Unknown keys are ignored, as Docker does."""

from __future__ import annotations

from collections.abc import Callable

from ketch.engine.events.values import Event
from ketch.engine.filters import Filters, labels_match

_ACTORS = (
    "container", "image", "volume", "network", "plugin", "daemon", "builder",
    "service", "node", "secret", "config",
)  # fmt: skip


def matches(event: Event, filters: Filters) -> bool:
    """Whether every key of ``filters`` that is known has a value that fits the event."""
    return all(
        any(test(event, value) for value in filters[key])
        for key, test in _TESTS.items()
        if filters.get(key)
    ) and labels_match(event.attributes, filters.get("label", ()))


def _by_type(event: Event, value: str) -> bool:
    return event.type == value


def _by_action(event: Event, value: str) -> bool:
    # "exec_start: sh -c …" is found by the word before the colon, and by any beginning behind it
    word, colon, _ = event.action.partition(":")
    if colon and ":" in value:
        return event.action.startswith(value)
    return value in (event.action, word)


def _by_actor(kind: str) -> Callable[[Event, str], bool]:
    """By the beginning of a name or ID, as Docker does; events of others that name it count."""

    def test(event: Event, value: str) -> bool:
        name = event.attributes.get("name", "")
        if event.type != kind:
            return event.attributes.get(kind, "").startswith(value) and kind in event.attributes
        if kind == "image":
            return value in (event.actor, name, name.rpartition(":")[0])
        return name.startswith(value) or event.actor.startswith(value)

    return test


def _by_image_of_container(event: Event, value: str) -> bool:
    image = event.attributes.get("image", "")
    return _by_actor("image")(event, value) or value in (image, image.rpartition(":")[0])


_TESTS: dict[str, Callable[[Event, str], bool]] = {
    "type": _by_type,
    "event": _by_action,
    **{kind: _by_actor(kind) for kind in _ACTORS},
    "image": _by_image_of_container,
    "scope": lambda event, value: value == "local",
}
