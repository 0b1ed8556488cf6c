"""Who a process runs as: names resolved in the container's own passwd and group files.

Those files are the image's, so hostile: only regular files are read, without blocking, without
leaving the root, up to a size, line by line.
"""

import os
import stat

from ketch.errors import StartFailed, errno_text
from ketch.linux.paths import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_ID = (1 << 31) - 1
MAX_FILE = 8 << 20
MAX_LINE = 64 << 10


class Identity:
    """User and group IDs, supplementary groups, and the home directory (``""`` = unknown)."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: "Sequence[int]" = (), home: str = "") -> None:
        self.uid = uid
        self.gid = gid
        self.groups = list(groups)
        self.home = home


def read_lines(root_fd: int, path: str) -> "Iterator[list[str]]":
    """Colon-separated fields of each line; nothing when the file is missing.

    Raises ``StartFailed`` when it is no regular file or too large.
    """
    try:
        fd = open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StartFailed(f"cannot read {path} of the image: {errno_text(error)}", 128) from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise StartFailed(f"{path} of the image is not a regular file", 128)
        if found.st_size > MAX_FILE:
            raise StartFailed(f"{path} of the image is larger than {MAX_FILE >> 20} MiB", 128)
        yield from _split(fd, path)
    finally:
        os.close(fd)


def _split(fd: int, path: str) -> "Iterator[list[str]]":
    rest, total = b"", 0
    while chunk := os.read(fd, 65536):
        total += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE or total > MAX_FILE:
            raise StartFailed(f"{path} of the image has too long a line or keeps growing", 128)
        for line in lines:
            yield _fields(line)
    if rest:
        yield _fields(rest)


def _fields(line: bytes) -> "list[str]":
    return os.fsdecode(line.strip()).split(":")


def _number(text: str) -> "int | None":
    """A decimal ID; None for anything else. Raises ``StartFailed`` when out of range."""
    digits = text[1:] if text.startswith(("-", "+")) else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    if len(digits) > 10 or not 0 <= int(text) <= MAX_ID:
        raise StartFailed(f"uids and gids must be in range 0-{MAX_ID}: {text}", 128)
    return int(text)


class _Passwd:
    """One useful passwd entry."""

    def __init__(self, name: str, uid: int, gid: int, home: str) -> None:
        self.name, self.uid, self.gid, self.home = name, uid, gid, home


def _entry_number(text: str) -> "int | None":
    try:
        return _number(text)
    except StartFailed:
        return None


def find_user(root_fd: int, user: str) -> "_Passwd | None":
    """The first passwd entry with this name or number."""
    wanted = _number(user)
    for fields in read_lines(root_fd, "/etc/passwd"):
        if len(fields) < 4 or not fields[0]:
            continue
        uid, gid = _entry_number(fields[2]), _entry_number(fields[3])
        if uid is None or gid is None:
            continue
        if fields[0] == user or (wanted is not None and uid == wanted):
            return _Passwd(fields[0], uid, gid, fields[5] if len(fields) > 5 else "")
    return None


def _groups(root_fd: int) -> "Iterator[tuple[str, int, list[str]]]":
    for fields in read_lines(root_fd, "/etc/group"):
        gid = _entry_number(fields[2]) if len(fields) > 2 else None
        if gid is not None and fields[0]:
            yield fields[0], gid, fields[3].split(",") if len(fields) > 3 else []


def find_group(root_fd: int, group: str) -> int:
    """The ID of a group by name or number; raises ``StartFailed`` for an unknown name."""
    for name, gid, _ in _groups(root_fd):
        if name == group:
            return gid
    number = _number(group)
    if number is None:
        raise StartFailed(f"unable to find group {group}: no matching entries in group file", 128)
    return number


def resolve(root_fd: int, user: str, groups_add: "Sequence[str]" = ()) -> Identity:
    """``name``, ``uid``, ``name:group``, ``uid:gid``, … as an ``Identity``; empty means root.

    Docker's rules: an unknown number is taken as it is with group 0; memberships in the group file
    count only when no group is named; the primary group is a supplementary one besides.
    """
    name, colon, group = user.partition(":")
    found = find_user(root_fd, name or "0")
    if found is None:
        uid = _number(name or "0")
        if uid is None:
            raise StartFailed(
                f"unable to find user {name}: no matching entries in passwd file", 128
            )
        identity = Identity(uid, 0)
    else:
        identity = Identity(found.uid, found.gid, home=found.home)
    if colon and group:
        identity.gid = find_group(root_fd, group)
    elif found is not None:
        identity.groups = [gid for _, gid, members in _groups(root_fd) if found.name in members]
    for extra in groups_add:
        identity.groups.append(find_group(root_fd, extra))
    # The primary group too, or the process could shed what a file denies to it (CVE-2022-36109).
    identity.groups = list(dict.fromkeys((identity.gid, *identity.groups)))
    return identity


def home_of(root_fd: int, uid: int) -> str:
    """The home directory of a numeric user; ``/`` when the passwd file does not say."""
    found = find_user(root_fd, str(uid))
    return (found.home if found else "") or "/"
