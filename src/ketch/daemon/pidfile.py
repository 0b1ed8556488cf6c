"""The pid file with its lock: one daemon per exec root and one per data root.

The lock (flock(2)) is what counts: it goes away with the process, however it dies, so a stale
file never stands in the way.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from ketch.errors import Conflict


class LockedFile:
    """A file locked by this process, holding its process ID."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock()
        while not self._is_there():  # removed between open and flock
            os.close(self._fd)
            self._lock()
        os.ftruncate(self._fd, 0)
        with suppress(OSError):  # a full disk: the number is for people
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def _lock(self) -> None:
        path = self.path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._fd, 32).decode(errors="replace").strip()
            os.close(self._fd)
            raise Conflict(
                f"another ketchd (pid {owner or 'unknown'}) holds {path}: stop it, or give this "
                "one other roots with --data-root and --exec-root"
            ) from None

    def remove(self) -> None:
        """Remove the file and let the lock go. Whoever opened it before makes a new one."""
        os.unlink(self.path)
        os.close(self._fd)

    def release(self) -> None:
        """Empty the file and let the lock go; the file stays for the next."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)
