"""The volume service: records, use by containers, removal.

A volume's directory is durable before its record, and the record before the answer; removal goes
the other way. So a crash leaves at most a directory that no record names, which the next start
moves to the trash.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable, Sequence

from ketch.engine.containers.record import ContainerRecord
from ketch.engine.events.events import Events
from ketch.engine.filters import Filters, labels_match, name_matches
from ketch.engine.prune_report import PruneReport
from ketch.engine.tasks import Background
from ketch.engine.volumes.mounts import VolumeMounts, Work, no_work
from ketch.engine.volumes.values import VolumeRecord
from ketch.errors import Conflict, InvalidParameter, NotFound, Unsupported
from ketch.layers.remove import remove as remove_tree
from ketch.state.database import Database, Table
from ketch.volumes.local import LocalDriver
from ketch.volumes.options import parse

_ANONYMOUS = "com.docker.volume.anonymous"
_log = logging.getLogger("ketch.engine.volumes")


class Volumes:
    """``containers`` gives every container's record: a volume that one names is in use.

    ``work`` runs a task in a worker; ``mounts`` mounts what volumes with a file system need.
    """

    def __init__(
        self,
        root: str,
        database: Database,
        events: Events,
        containers: Callable[[], Iterable[ContainerRecord]],
        work: Work = no_work,
    ) -> None:
        self._driver = LocalDriver(root)
        self._table: Table[VolumeRecord] = Table(database, "volumes", VolumeRecord)
        self._records = self._table.all()
        self._events = events
        self._containers = containers
        self._background = Background()
        self.mounts = VolumeMounts(self._records, work)
        self._sweep()

    def _sweep(self) -> None:
        swept, stuck = self._driver.sweep(self._records)
        if swept:
            _log.info("moved %d volume directories without a record to the trash", swept)
        for name in stuck:
            _log.warning("volume directory %s has no record and cannot go to the trash", name)

    async def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        options: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
    ) -> VolumeRecord:
        """Make a volume, or return the one of this name unchanged; no name: an anonymous one.

        Raises ``InvalidParameter`` for name or options, ``Unsupported`` for driver or options.
        """
        self._check_driver(name, driver)
        if name in self._records:
            return self._records[name]
        try:
            size = parse(options or {}).size
        except (InvalidParameter, Unsupported) as error:
            raise type(error)(f"create {name}: {error}") from None
        anonymous = not name
        name = name or secrets.token_hex(32)
        self._driver.check_name(name)
        made = self._driver.make(name, size)
        record = VolumeRecord(
            name=name,
            mountpoint=made.path,
            project=made.project,
            options=options or {},
            labels={**(labels or {}), **({_ANONYMOUS: ""} if anonymous else {})},
            created_at=time.time_ns(),
            anonymous=anonymous,
        )
        self._table.put(name, record)
        self._records[name] = record
        self._publish("create", record)
        return record

    def _check_driver(self, name: str, driver: str) -> None:
        if driver not in ("", self._driver.name):
            raise Unsupported(
                f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not '
                f"found; ketch has the driver {self._driver.name}"
            )

    async def get(self, name: str) -> VolumeRecord:
        """The volume of this name; raises ``NotFound``."""
        try:
            return self._records[name]
        except KeyError:
            raise NotFound(f"get {name}: no such volume") from None

    async def list(self, filters: Filters | None = None) -> Sequence[VolumeRecord]:
        """Volumes in the order of names; filters: dangling, driver, label, label! and name.

        ``name`` finds any part of a name. Raises ``InvalidParameter`` for other filters.
        """
        wanted = _checked(filters or {})
        used = self._users()
        found = [self._records[name] for name in sorted(self._records)]
        return [record for record in found if _fits(record, record.name in used, wanted)]

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume; raises ``NotFound`` unless ``force``, ``Conflict`` when it is used.

        The name is free when this returns; the data is deleted in the background.
        """
        record = self._records.get(name)
        if record is None:
            if force:
                return
            raise NotFound(f"get {name}: no such volume")
        users = self._users().get(name)
        if users:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        self._table.delete(name)
        del self._records[name]
        self._publish("destroy", record)
        self._discard(record)

    async def prune(self, filters: Filters | None = None) -> PruneReport:
        """Remove unused volumes: anonymous ones, or all with the filter ``all``."""
        wanted = dict(filters or {})
        everything = _any_true("all", wanted.pop("all", ()))
        deleted, reclaimed = [], 0
        for record in await self.list({**wanted, "dangling": ("true",)}):
            if not (everything or record.anonymous):
                continue
            size = max(0, await self._size(record))
            try:
                await self.remove(record.name)
            except (Conflict, NotFound):
                continue  # used or removed by somebody else meanwhile
            deleted.append(record.name)
            reclaimed += size
        self._events.pruned("volume", reclaimed)
        return PruneReport(deleted=tuple(deleted), reclaimed=reclaimed)

    async def usage(self) -> Sequence[tuple[VolumeRecord, int, int]]:
        """(record, bytes, number of containers) of every volume; -1 bytes where what is in it is
        stored elsewhere (a bound directory, a mounted file system)."""
        records = await self.list()
        sizes = [await self._size(record) for record in records]
        used = self._users()
        return [
            (record, size, len(used.get(record.name, ())))
            for record, size in zip(records, sizes, strict=True)
        ]

    async def _size(self, record: VolumeRecord) -> int:
        options = parse(record.options)
        if options.bound or options.mounted:
            return -1
        return await asyncio.to_thread(self._driver.size, record.name)

    def _users(self) -> dict[str, Sequence[str]]:
        """Volume name → IDs of the containers that mount it, running or not."""
        users: dict[str, Sequence[str]] = {}
        for container in self._containers():
            for name in {p.name for p in container.held_points if p.type == "volume"}:
                users[name] = (*users.get(name, ()), container.id)
        return users

    def _publish(self, action: str, record: VolumeRecord) -> None:
        self._events.publish("volume", action, record.name, {"driver": record.driver})

    def _discard(self, record: VolumeRecord) -> None:
        name = record.name
        try:
            if record.project:
                self._driver.release(record.project)
            discarded = self._driver.discard(name)
        except OSError as error:  # the record is gone already: the next start tries again
            _log.warning("volume %s: its directory stays until the next start: %s", name, error)
            return
        if discarded:
            self._background.spawn(asyncio.to_thread(_delete, self._driver.trash, discarded))


def _delete(trash: str, name: str) -> None:
    """Delete one tree in the trash; whatever fails is left to the sweeper of the trash."""
    fd = os.open(trash, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove_tree(fd, os.fsencode(name))
    except FileNotFoundError:
        pass  # the sweeper is at it too
    except OSError as error:
        _log.warning("cannot delete %s/%s yet: %s", trash, name, error)
    finally:
        os.close(fd)


_TESTS: dict[str, Callable[[VolumeRecord, bool, Sequence[str]], bool]] = {
    "name": lambda record, used, values: any(name_matches(v, record.name) for v in values),
    "driver": lambda record, used, values: record.driver in values,
    "label": lambda record, used, values: labels_match(record.labels, values),
    "label!": lambda record, used, values: (
        not any(labels_match(record.labels, (value,)) for value in values)
    ),
    "dangling": lambda record, used, values: used != _any_true("dangling", values),
}
"""Filter → whether a record fits its values, given whether a container uses it."""


def _checked(filters: Filters) -> Filters:
    """The filters that have values; raises ``InvalidParameter`` for one that is unknown."""
    for key in filters:
        if key not in _TESTS:
            raise InvalidParameter(f"invalid filter '{key}': volumes have {', '.join(_TESTS)}")
    _any_true("dangling", filters.get("dangling", ()))
    return {key: values for key, values in filters.items() if values}


def _fits(record: VolumeRecord, used: bool, filters: Filters) -> bool:
    return all(_TESTS[key](record, used, values) for key, values in filters.items())


def _any_true(key: str, values: Iterable[str]) -> bool:
    """A filter that is a switch; raises ``InvalidParameter`` for other words."""
    words = {value.lower() for value in values}
    if words - {"1", "true", "0", "false"}:
        raise InvalidParameter(f"invalid filter '{key}={min(words)}': it is true or false")
    return bool(words & {"1", "true"})
