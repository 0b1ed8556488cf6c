"""Which containers a list shows: Docker's filters over records."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import msgspec

from ketch.engine.containers.record import ContainerRecord, Status
from ketch.engine.filters import Filters, labels_match, name_matches
from ketch.errors import InvalidParameter

Resolve = Callable[[str], ContainerRecord]

KEYS = frozenset(
    str.split(
        "ancestor annotation before exited expose health id is-task isolation label label! name "
        "network publish since status until volume"
    )
)
_TRUE, _FALSE = ("1", "t", "true", "True"), ("0", "f", "false", "False")
_HEALTH = ("none", "starting", "healthy", "unhealthy")


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Filters ready to be applied: names resolved, values checked."""

    filters: Filters
    after: int = 0  # created_at bounds, exclusive
    before: int = 0
    image_ids: frozenset[str] | None = None
    shows_stopped: bool = False


def prepare(
    filters: Filters, resolve: Resolve, image_ids: Callable[[str], Iterable[str]]
) -> Selection:
    """Check the filters and resolve what they name.

    ``resolve`` finds a container or raises ``NotFound``; ``image_ids`` gives the images that are,
    or descend from, a reference. Raises ``InvalidParameter`` as Docker words it.
    """
    _check(filters)
    ancestors = filters.get("ancestor")
    return Selection(
        filters=filters,
        after=max((resolve(ref).created_at for ref in filters.get("since", ())), default=0),
        before=min((resolve(ref).created_at for ref in filters.get("before", ())), default=0),
        image_ids=frozenset(found for ref in ancestors for found in image_ids(ref))
        if ancestors
        else None,
        shows_stopped=bool(filters.get("status") or filters.get("exited")),
    )


def _check(filters: Filters) -> None:
    for key in filters:
        if key not in KEYS:
            raise InvalidParameter(f"invalid filter '{key}'")
    for value in filters.get("status", ()):
        if value not in tuple(Status):
            raise InvalidParameter(
                f"invalid filter 'status={value}': invalid value for state ({value}): must be one "
                f"of {', '.join(Status)}"
            )
    for value in filters.get("health", ()):
        if value not in _HEALTH:
            raise InvalidParameter(
                f"invalid filter 'health={value}': invalid value for health ({value}): must be one "
                f"of {', '.join(_HEALTH)}"
            )
    for value in filters.get("exited", ()):
        if not re.fullmatch(r"-?\d+", value):
            raise InvalidParameter(f"invalid filter 'exited={value}': not a number")
    for value in filters.get("is-task", ()):
        if value not in _TRUE + _FALSE:
            raise InvalidParameter(f"invalid filter 'is-task={value}': it is true or false")
    for value in (*filters.get("publish", ()), *filters.get("expose", ())):
        port_range(value)


def matches(record: ContainerRecord, selection: Selection) -> bool:
    """Whether a record is in the selection."""
    filters = selection.filters
    if selection.after and record.created_at <= selection.after:
        return False
    if selection.before and record.created_at >= selection.before:
        return False
    if selection.image_ids is not None and record.image_id not in selection.image_ids:
        return False
    if not labels_match(record.spec.labels, filters.get("label", ())):
        return False
    if any(labels_match(record.spec.labels, (want,)) for want in filters.get("label!", ())):
        return False
    return all(
        any(test(record, value) for value in filters[key])
        for key, test in _TESTS.items()
        if filters.get(key)
    )


def _name(record: ContainerRecord, value: str) -> bool:
    # with and without its slash, so that ^/x$ and ^x$ work
    return name_matches(value, record.name) or name_matches(value, f"/{record.name}")


def _exited(record: ContainerRecord, value: str) -> bool:
    state = record.state
    return state.status is Status.EXITED and state.exit_code == int(value)


def _network(record: ContainerRecord, value: str) -> bool:
    names = {record.spec.network_mode, *(point.network for point in record.spec.endpoints)}
    ids = {point.network_id for point in record.state.endpoints}
    ids |= set(record.state.network_ids.values())
    return value in names or any(found.startswith(value) for found in ids)


def _volume(record: ContainerRecord, value: str) -> bool:
    return any(value in (point.name, point.target) for point in record.mount_points)


def _health(record: ContainerRecord, value: str) -> bool:
    return (record.state.health.status if record.state.health else "none") == value


def port_range(value: str) -> tuple[range, str]:
    """``80``, ``80/udp``, ``80-90/tcp`` → ports and protocol; raises ``InvalidParameter``."""
    ports, _, protocol = value.partition("/")
    first, _, last = ports.partition("-")
    try:
        return range(int(first), int(last or first) + 1), protocol or "tcp"
    except ValueError:
        raise InvalidParameter(f"invalid filter: port {value}") from None


def _publish(record: ContainerRecord, value: str) -> bool:
    ports, protocol = port_range(value)
    return any(p.host_port in ports and p.protocol == protocol for p in record.state.ports)


def _expose(record: ContainerRecord, value: str) -> bool:
    ports, protocol = port_range(value)
    return any(f"{port}/{protocol}" in record.spec.exposed_ports for port in ports)


_TESTS: dict[str, Callable[[ContainerRecord, str], bool]] = {
    "id": lambda record, value: record.id.startswith(value),
    "name": _name,
    "status": lambda record, value: record.state.status == value,
    "exited": _exited,
    "network": _network,
    "volume": _volume,
    "health": _health,
    "publish": _publish,
    "expose": _expose,
    "annotation": lambda record, value: labels_match(record.spec.annotations, (value,)),
    "is-task": lambda record, value: value in _FALSE,
    "isolation": lambda record, value: value == (record.spec.isolation or "default"),
}
