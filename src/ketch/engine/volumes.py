"""The volume service: records, use by containers, removal."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Sequence

from ketch.engine.event_filters import labels_match
from ketch.engine.events import Events
from ketch.engine.model import ContainerRecord, Filters, PruneReport, VolumeRecord
from ketch.errors import Conflict, NotFound, Unsupported
from ketch.state.database import Database, Table
from ketch.volumes.local import LocalDriver

_ANONYMOUS = "com.docker.volume.anonymous"


class Volumes:
    """``containers`` gives every container's record: a volume that one names is in use."""

    def __init__(
        self,
        root: str,
        database: Database,
        events: Events,
        containers: Callable[[], Iterable[ContainerRecord]],
    ) -> None:
        self._driver = LocalDriver(root)
        self._table: Table[VolumeRecord] = Table(database, "volumes", VolumeRecord)
        self._records = self._table.all()
        self._events = events
        self._containers = containers
        for discarded in self._driver.sweep(self._records):
            self._driver.delete(discarded)

    async def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        options: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
    ) -> VolumeRecord:
        """Make a volume, or return the one of this name unchanged; no name: an anonymous one.

        Raises ``InvalidParameter`` for the name, ``Unsupported`` for driver or options.
        """
        if name in self._records:
            return self._records[name]
        if driver not in ("", "local"):
            raise Unsupported(f"error looking up volume plugin {driver}: plugin {driver} not found")
        if options:
            raise Unsupported(
                f"the option {sorted(options)[0]!r} of the local volume driver is not supported yet"
            )
        anonymous = not name
        name = name or secrets.token_hex(32)
        self._driver.check_name(name)
        record = VolumeRecord(
            name=name,
            mountpoint=self._driver.make(name),
            labels={**(labels or {}), **({_ANONYMOUS: ""} if anonymous else {})},
            created_at=time.time_ns(),
            anonymous=anonymous,
        )
        self._table.put(name, record)
        self._records[name] = record
        self._events.publish("volume", "create", name, {"driver": record.driver})
        return record

    async def get(self, name: str) -> VolumeRecord:
        """Raises ``NotFound``."""
        try:
            return self._records[name]
        except KeyError:
            raise NotFound(f"get {name}: no such volume") from None

    async def list(self, filters: Filters | None = None) -> Sequence[VolumeRecord]:
        """Volumes that fit the filters dangling, driver, label and name."""
        used = self._users()
        found = [self._records[name] for name in sorted(self._records)]
        return [record for record in found if _fits(record, record.name in used, filters or {})]

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume; raises ``NotFound`` unless ``force``, ``Conflict`` when it is used."""
        if name not in self._records:
            if force:
                return
            raise NotFound(f"get {name}: no such volume")
        users = self._users().get(name)
        if users:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        self._table.delete(name)
        record = self._records.pop(name)
        discarded = self._driver.discard(name)
        self._events.publish("volume", "destroy", name, {"driver": record.driver})
        await asyncio.to_thread(self._driver.delete, discarded)

    async def prune(self, filters: Filters | None = None) -> PruneReport:
        """Remove unused volumes: anonymous ones, or all with the filter ``all``."""
        wanted = dict(filters or {})
        everything = any(value in ("true", "1") for value in wanted.pop("all", ()))
        deleted, reclaimed = [], 0
        used = self._users()
        for record in await self.list(wanted):
            if record.name not in used and (everything or record.anonymous):
                reclaimed += await asyncio.to_thread(self._driver.size, record.name)
                await self.remove(record.name)
                deleted.append(record.name)
        return PruneReport(deleted=tuple(deleted), reclaimed=reclaimed)

    async def usage(self) -> Sequence[tuple[VolumeRecord, int, int]]:
        """(record, bytes, number of containers) of every volume."""
        used = self._users()
        return [
            (
                record,
                await asyncio.to_thread(self._driver.size, record.name),
                len(used.get(record.name, ())),
            )
            for record in await self.list()
        ]

    def _users(self) -> dict[str, Sequence[str]]:
        """Volume name → IDs of the containers that mount it, running or not."""
        users: dict[str, Sequence[str]] = {}
        for container in self._containers():
            for point in container.mount_points:
                if point.type == "volume":
                    users[point.name] = (*users.get(point.name, ()), container.id)
        return users


def _fits(record: VolumeRecord, used: bool, filters: Filters) -> bool:
    tests: dict[str, Callable[[str], bool]] = {
        "name": lambda value: value in record.name,
        "driver": lambda value: value == record.driver,
        "label": lambda value: labels_match(record.labels, (value,)),
        "label!": lambda value: not labels_match(record.labels, (value,)),
        "dangling": lambda value: (value in ("true", "1")) == (not used),
    }
    return all(any(tests[key](value) for value in values) for key, values in filters.items() if values)
