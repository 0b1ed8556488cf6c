"""Leases: what a running operation needs is not collected under it.

An operation takes a lease before it looks whether a blob or layer is there, and gives it back after
the record that names it is stored. The collector asks, under the same lock, first for leases and
then for records, so that nothing slips through between them. Leases live in memory: an operation
ends with its daemon, and what it left is then named by nothing and swept.

    with leases.lease("pull busybox") as lease:
        lease.add(digest)
        …                                   # download, unpack
        images.put(…)
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


class Lease:
    """What one operation holds; made by ``Leases.lease``."""

    def __init__(self, leases: Leases, name: str) -> None:
        self.name = name
        self._leases = leases
        self._keys: set[str] = set()

    def add(self, *keys: str) -> None:
        """Hold more digests; holding one twice is no error."""
        with self._leases.lock:
            fresh = set(keys) - self._keys
            self._keys |= fresh
            self._leases.held.update(fresh)

    def release(self) -> None:
        """Let go of everything."""
        with self._leases.lock:
            self._leases.held.subtract(self._keys)
            self._leases.held += Counter()  # drops those that nobody holds any more
            self._keys = set()


class Leases:
    """See the module's docstring; may be used by several threads."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.held: Counter[str] = Counter()

    @contextmanager
    def lease(self, name: str, keys: Iterable[str] = ()) -> Iterator[Lease]:
        """Hold ``keys`` and whatever is added until the block ends; ``name`` is for people."""
        lease = Lease(self, name)
        lease.add(*keys)
        try:
            yield lease
        finally:
            lease.release()

    def collect(
        self, key: str, named: Callable[[str], bool], remove: Callable[[str], object]
    ) -> bool:
        """Remove ``key`` unless it is leased or a record names it; True when it was removed.

        ``remove`` must be quick (a rename): it runs under the lock.
        """
        with self.lock:
            if self.held[key] > 0 or named(key):
                return False
            remove(key)
            return True
