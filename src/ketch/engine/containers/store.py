"""The containers' records: in memory for reading, in SQLite before anything is acknowledged.

Only this module writes them. When a method returns, its change survives the daemon's death, and a
power cut too but for containers with --rm: those end with the machine anyway, so they cost no
fsync. The copy in memory is replaced after that; nobody reads what a crash could take back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec

from ketch.engine.containers.record import ContainerRecord
from ketch.errors import Conflict, InvalidParameter, NotFound
from ketch.state.database import Database, Table


class ContainerStore:
    """See the module's docstring."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._table: Table[ContainerRecord] = Table(database, "containers", ContainerRecord)
        self._records = {record.id: record for record in self._table.values()}
        self._names = {record.name: record.id for record in self._records.values()}
        self._linking = {record.id for record in self._records.values() if record.links}
        self._locks: dict[str, asyncio.Lock] = {}

    def __iter__(self) -> Iterator[ContainerRecord]:
        return iter(tuple(self._records.values()))

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, container_id: str) -> bool:
        return container_id in self._records

    def find(self, container_id: str) -> ContainerRecord | None:
        """The record of a full ID, or None."""
        return self._records.get(container_id)

    def by_id(self, container_id: str) -> ContainerRecord:
        """The record of a full ID; raises ``NotFound``."""
        try:
            return self._records[container_id]
        except KeyError:
            raise NotFound(f"No such container: {container_id}") from None

    def resolve(self, ref: str) -> ContainerRecord:
        """The record of a full ID, a name, or a prefix of an ID that only one has.

        Raises ``NotFound``, ``InvalidParameter`` when several have it.
        """
        found = self._records.get(ref) or self._records.get(
            self._names.get(ref.removeprefix("/"), "")
        )
        return found or self._by_link(ref) or self._by_prefix(ref)

    def linking(self) -> Iterator[ContainerRecord]:
        """Containers that have legacy links."""
        return (self._records[container_id] for container_id in tuple(self._linking))

    def _by_link(self, ref: str) -> ContainerRecord | None:
        """``parent/alias``: what the parent links to."""
        name, slash, alias = ref.removeprefix("/").partition("/")
        parent = self._records.get(self._names.get(name, "")) if slash else None
        for link in parent.links if parent else ():
            if link.alias == alias:
                return self._records.get(link.container)
        return None

    def _by_prefix(self, ref: str) -> ContainerRecord:
        matching = [known for known in self._records if ref and known.startswith(ref)]
        if not matching:
            raise NotFound(f"No such container: {ref}")
        if len(matching) > 1:
            raise InvalidParameter(f"multiple IDs found with provided prefix: {ref}")
        return self._records[matching[0]]

    def name_taken(self, name: str) -> bool:
        """Whether a container has this name."""
        return name in self._names

    def check_name(self, name: str) -> None:
        """Raise ``Conflict`` when the name is taken."""
        if owner := self._names.get(name):
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container '
                f'"{owner}". You have to remove (or rename) that container to be able to reuse '
                "that name."
            )

    def add(self, record: ContainerRecord) -> None:
        """Record a new container; raises ``Conflict`` for its name."""
        self.check_name(record.name)
        self._put(record)
        self._names[record.name] = record.id

    def rename(self, record: ContainerRecord, name: str) -> ContainerRecord:
        """Record another name; raises ``Conflict``."""
        self.check_name(name)
        renamed = msgspec.structs.replace(record, name=name)
        self._put(renamed)
        del self._names[record.name]
        self._names[name] = record.id
        return renamed

    def replace(self, container_id: str, **changes: object) -> ContainerRecord:
        """Record changes of a container's fields."""
        record = msgspec.structs.replace(self.by_id(container_id), **changes)
        self._put(record)
        return record

    def put(self, record: ContainerRecord) -> ContainerRecord:
        """Record a container that is there as it is given."""
        self._put(record)
        return record

    def undone(self, record: ContainerRecord) -> None:
        """A transaction around a change of this container was undone: it is ``record`` again."""
        self._records[record.id] = record

    def set_state(
        self, container_id: str, *, durable: bool = True, **changes: object
    ) -> ContainerRecord:
        """Record changes of a container's state.

        Without ``durable`` they survive the daemon, but perhaps not a power cut.
        """
        record = self.by_id(container_id)
        state = msgspec.structs.replace(record.state, **changes)
        record = msgspec.structs.replace(record, state=state)
        self._put(record, durable)
        return record

    def delete(self, container_id: str) -> None:
        """Forget a container; forgetting one that is not there is no error."""
        record = self._records.get(container_id)
        if record is None:
            return
        with self._database.transaction(durable=not record.spec.auto_remove):
            self._table.delete(container_id)
        del self._records[container_id]
        del self._names[record.name]
        self._linking.discard(container_id)

    def _put(self, record: ContainerRecord, durable: bool = True) -> None:
        with self._database.transaction(durable=durable and not record.spec.auto_remove):
            self._table.put(record.id, record)
        self._records[record.id] = record
        if record.links:
            self._linking.add(record.id)
        else:
            self._linking.discard(record.id)

    @asynccontextmanager
    async def locked(self, ref: str) -> AsyncIterator[ContainerRecord]:
        """The record of ``ref``, with the container's lock held.

        Raises ``NotFound`` also when it was removed while this waited for the lock.
        """
        record = self.resolve(ref)
        async with self.lock(record.id):
            yield self.by_id(record.id)

    @asynccontextmanager
    async def lock(self, container_id: str) -> AsyncIterator[None]:
        """Serialise operations on one container."""
        lock = self._locks.setdefault(container_id, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if container_id not in self._records and not lock.locked():
                self._locks.pop(container_id, None)
