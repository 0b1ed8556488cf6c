"""Whether a host path is on a mount that can share its mounts with a container.

``rshared`` and ``rslave`` mean nothing where the host's mount is private
(Documentation/filesystems/sharedsubtree.rst): then a start is refused, as with Docker.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from ketch.errors import KetchError


class HostMount(NamedTuple):
    """A line of mountinfo: where it is, and its optional fields (``shared:1``, ``master:2``)."""

    point: str
    tags: tuple[str, ...]

    def has(self, *kinds: str) -> bool:
        """Whether it is ``shared`` or a slave (``master``)."""
        return any(tag.partition(":")[0] in kinds for tag in self.tags)


def check_propagation(source: str, propagation: str) -> None:
    """Raise ``KetchError`` in Docker's words when the mount of ``source`` cannot do it."""
    kind = propagation.removeprefix("r")
    if kind not in ("shared", "slave"):
        return
    path = os.path.realpath(source)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        mount = mount_of(path, file)
    if kind == "shared" and not mount.has("shared"):
        raise KetchError(f"path {source} is mounted on {mount.point} but it is not a shared mount")
    if kind == "slave" and not mount.has("shared", "master"):
        raise KetchError(
            f"path {source} is mounted on {mount.point} but it is not a shared or slave mount"
        )


def mount_of(path: str, mountinfo: Iterable[str]) -> HostMount:
    """The mount that ``path`` is on: the deepest, and of several at one place the last."""
    found = HostMount("/", ())
    for line in mountinfo:
        words = line.split()
        point = _unescaped(words[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found.point):
            found = HostMount(point, tuple(words[6 : words.index("-", 6)]))
    return found


def _unescaped(text: str) -> str:
    """mountinfo writes blanks, tabs, newlines and backslashes in octal."""
    for code in ("040", "011", "012", "134"):
        text = text.replace("\\" + code, chr(int(code, 8)))
    return text
