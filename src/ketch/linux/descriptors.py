"""File descriptors in bulk: closing many, and which of them a forked process keeps."""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_END = 1 << 30


def close_all_but(keep: "Iterable[int]", first: int = 3) -> None:
    """Close every fd from ``first`` on that is not in ``keep`` (close_range(2), Linux 5.9)."""
    for fd in sorted(set(keep)):
        if fd < first:
            continue
        if fd > first:
            os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, _END)


def close_all(fds: "Iterable[int]") -> None:
    """Close each; numbers that are closed already are no error."""
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            pass
