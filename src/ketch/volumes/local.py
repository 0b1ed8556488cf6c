"""The local driver: a volume is a directory below the data root."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Collection
from typing import NamedTuple

from ketch.errors import InvalidParameter, KetchError, os_reason
from ketch.linux import mountapi
from ketch.linux.below import stats_below
from ketch.volumes import quota
from ketch.volumes.mountinfo import mounted_below

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_NAME_MAX = 255  # bytes of one path component, limits.h


class Made(NamedTuple):
    """A volume's directory, and the project that bounds it (0 = none)."""

    path: str
    project: int


class LocalDriver:
    """``<root>/volumes/<name>/_data``; what goes is renamed into ``<root>/trash`` first.

    Not made for several threads, but for ``size``: the caller serialises.
    """

    name = "local"

    def __init__(self, root: str) -> None:
        self._folder = f"{root}/volumes"
        self.trash = f"{root}/trash"
        os.makedirs(self._folder, mode=0o711, exist_ok=True)
        os.makedirs(self.trash, mode=0o710, exist_ok=True)
        _sync(root)

    def check_name(self, name: str) -> None:
        """Raise ``InvalidParameter`` for a name that cannot be a directory; in Docker's words."""
        if not _NAME.fullmatch(name):
            raise InvalidParameter(
                f'create {name}: "{name}" includes invalid characters for a local volume name, '
                'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host '
                "directory, use absolute path"
            )
        if len(name) < 2:
            raise InvalidParameter(
                f"create {name}: volume name is too short, names should be at least two "
                "alphanumeric characters"
            )
        if len(name) > _NAME_MAX:
            raise InvalidParameter(
                f"create {name[:20]}…: volume name is too long, use at most {_NAME_MAX} characters"
            )

    def mountpoint(self, name: str) -> str:
        """The directory of a volume's data."""
        return f"{self._folder}/{name}/_data"

    def make(self, name: str, size: int = 0) -> Made:
        """Make an empty directory durably and return it; raises ``KetchError``.

        With ``size`` what is stored in it is bounded to so many bytes; raises ``InvalidParameter``
        where the file system cannot.

        To be called for names without a record: what a failed create or removal left there is
        discarded, so that nobody finds another volume's data in a new one.
        """
        path = self.mountpoint(name)
        home = os.path.dirname(path)
        try:
            self.discard(name)
            for folder, mode in ((home, 0o711), (path, 0o755)):
                os.mkdir(folder)
                os.chmod(folder, mode)  # whatever the umask
            project = quota.bound(path, size) if size else 0
            for folder in (path, home, self._folder):
                _sync(folder)
        except OSError as error:
            raise KetchError(f"create {name}: cannot make {os_reason(error)}") from error
        except KetchError:
            self.discard(name)
            raise
        return Made(path, project)

    def release(self, project: int) -> None:
        """Forget the bound of a volume that goes."""
        quota.release(self._folder, project)

    def discard(self, name: str) -> str:
        """Rename a volume into the trash; returns its name there, "" when it was not there.

        What is mounted in it is somebody else's data, and unmounted first.

        Needs no fsync: the record goes first, and ``sweep`` finds a directory that came back.
        """
        for place in reversed(mounted_below(f"{self._folder}/{name}")):
            mountapi.umount(place, mountapi.MNT_DETACH)
        target = f"volume-{secrets.token_hex(8)}"
        try:
            os.rename(f"{self._folder}/{name}", f"{self.trash}/{target}")
        except FileNotFoundError:
            return ""
        return target

    def sweep(self, kept: Collection[str]) -> tuple[int, list[str]]:
        """At start: discard what a crash left and no record names.

        Returns how many went, and the names of those that could not (a trash on another file
        system). What is no volume's name (``lost+found``) is not ours.
        """
        swept, stuck = 0, []
        for name in os.listdir(self._folder):
            if name in kept or not _NAME.fullmatch(name):
                continue
            try:
                swept += bool(self.discard(name))
            except OSError:
                stuck.append(name)
        return swept, stuck

    def size(self, name: str) -> int:
        """Bytes of a volume's files, each inode once; blocks. What vanishes meanwhile is left out.

        The tree may be as deep as its writers like.
        """
        total = 0
        seen: set[tuple[int, int]] = set()
        for info in stats_below(self.mountpoint(name)):
            if stat.S_ISDIR(info.st_mode):
                continue
            if info.st_nlink > 1:
                if (info.st_dev, info.st_ino) in seen:
                    continue
                seen.add((info.st_dev, info.st_ino))
            total += info.st_size
        return total


def _sync(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
