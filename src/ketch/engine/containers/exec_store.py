"""The records of exec instances: in memory for reading, in SQLite for the daemon that comes next.

No change waits for the disk: what is lost in a power cut ran on the machine that is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ketch.engine.containers.exec_values import ExecRecord
from ketch.errors import InvalidParameter, NotFound
from ketch.state.database import Table

if TYPE_CHECKING:
    from ketch.engine.containers.store import ContainerStore
    from ketch.state.database import Database

_KEPT = 32  # ended instances per container that can still be inspected
_MOST_WAITING = 1000  # instances per container that nobody has started


class ExecStore:
    """See the module's docstring."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._table: Table[ExecRecord] = Table(database, "execs", ExecRecord)
        self._records = self._table.all()

    def __iter__(self) -> Iterator[ExecRecord]:
        return iter(tuple(self._records.values()))

    def find(self, exec_id: str) -> ExecRecord | None:
        """The record of a full ID, or None."""
        return self._records.get(exec_id)

    def by_id(self, exec_id: str) -> ExecRecord:
        """The record of a full ID; raises ``NotFound``."""
        try:
            return self._records[exec_id]
        except KeyError:
            raise NotFound(f"No such exec instance: {exec_id}") from None

    def resolve(self, ref: str) -> ExecRecord:
        """By an ID or a prefix that only one has; raises ``NotFound``, ``InvalidParameter``."""
        matching = [known for known in self._records if ref and known.startswith(ref)]
        if len(matching) > 1:
            raise InvalidParameter(f"multiple exec IDs found with provided prefix: {ref}")
        return self.by_id(matching[0] if matching else ref)

    def of(self, container_id: str) -> tuple[ExecRecord, ...]:
        """The instances of a container, oldest first."""
        return tuple(r for r in self._records.values() if r.container_id == container_id)

    def put(self, record: ExecRecord) -> None:
        """Add or replace."""
        with self._database.transaction(durable=False):
            self._table.put(record.id, record)
        self._records[record.id] = record

    def note(self, record: ExecRecord) -> None:
        """Replace one for this daemon alone: the next one hears it from the supervisor."""
        self._records[record.id] = record

    def drop(self, exec_id: str) -> None:
        """Forget one that is there."""
        with self._database.transaction(durable=False):
            self._table.delete(exec_id)
        del self._records[exec_id]

    def add(self, record: ExecRecord, containers: ContainerStore) -> None:
        """Add a new one, and forget all of containers that are gone, and of this one's container
        what ended, or was made and not started, long ago: in one transaction."""
        stale = self._stale(record.container_id, containers)
        with self._database.transaction(durable=False):
            for old in stale:
                self._table.delete(old.id)
            self._table.put(record.id, record)
        for old in stale:
            del self._records[old.id]
        self._records[record.id] = record

    def _stale(self, container_id: str, containers: ContainerStore) -> list[ExecRecord]:
        own = self.of(container_id)
        ended = [record for record in own if record.exit_code is not None]
        waiting = [record for record in own if not record.started]
        gone = [r for r in self if r.container_id not in containers and not r.running]
        found = (*ended[:-_KEPT], *waiting[:-_MOST_WAITING], *gone)
        return [*{record.id: record for record in found}.values()]
