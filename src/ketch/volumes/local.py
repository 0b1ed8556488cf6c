"""The local driver: a volume is a directory below the data root."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Collection

from ketch.errors import InvalidParameter, KetchError

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


class LocalDriver:
    """``<root>/volumes/<name>/_data``; directories appear and vanish whole."""

    name = "local"

    def __init__(self, root: str) -> None:
        self._folder = f"{root}/volumes"
        self._trash = f"{root}/trash"
        for folder in (self._folder, self._trash):
            os.makedirs(folder, mode=0o711, exist_ok=True)

    def check_name(self, name: str) -> None:
        """Raise ``InvalidParameter`` in Docker's words for a name that cannot be a directory."""
        if not _NAME.fullmatch(name):
            raise InvalidParameter(
                f'create {name}: "{name}" includes invalid characters for a local volume name, only'
                ' "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory,'
                " use absolute path"
            )
        if len(name) > 255:
            raise InvalidParameter(f"create {name[:20]}…: a volume name has at most 255 bytes")

    def mountpoint(self, name: str) -> str:
        """The directory of a volume's data."""
        return f"{self._folder}/{name}/_data"

    def make(self, name: str) -> str:
        """Make the directory durably and return it; one that is there is kept as it is."""
        path = self.mountpoint(name)
        try:
            os.makedirs(path, mode=0o755, exist_ok=True)
            for folder in (os.path.dirname(path), self._folder):
                _sync(folder)
        except OSError as error:
            raise KetchError(f"create {name}: {error.strerror}: {path}") from None
        return path

    def discard(self, name: str) -> str:
        """Move a volume to the trash at once; returns what ``delete`` takes ("" if it was gone)."""
        target = f"{self._trash}/volume-{secrets.token_hex(8)}"
        try:
            os.rename(f"{self._folder}/{name}", target)
        except FileNotFoundError:
            return ""
        _sync(self._folder)
        return target

    def delete(self, discarded: str) -> None:
        """Delete what ``discard`` moved; slow."""
        if discarded:
            shutil.rmtree(discarded, ignore_errors=True)

    def sweep(self, kept: Collection[str]) -> list[str]:
        """Discard directories that no record names; returns what ``delete`` takes."""
        names = [name for name in os.listdir(self._folder) if name not in kept]
        return [self.discard(name) for name in names]

    def size(self, name: str) -> int:
        """Bytes of the files of a volume, hard links counted once; slow."""
        total = 0
        seen: set[tuple[int, int]] = set()
        for folder, _, files in os.walk(self.mountpoint(name)):
            for file in files:
                try:
                    found = os.lstat(os.path.join(folder, file))
                except OSError:
                    continue  # gone meanwhile
                if (found.st_dev, found.st_ino) not in seen:
                    seen.add((found.st_dev, found.st_ino))
                    total += found.st_size
        return total


def _sync(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
