"""The kernel's log as records (/dev/kmsg, Documentation/ABI/testing/dev-kmsg)."""

from __future__ import annotations

import errno
import os

_MOST = 20_000  # records; the ring buffer holds fewer


def lines() -> list[str]:
    """The texts of all records that are still there, oldest first.

    Raises OSError when it cannot be read (no CAP_SYSLOG with kernel.dmesg_restrict, no device).
    """
    fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    found = []
    try:
        for _ in range(_MOST):
            try:
                record = os.read(fd, 8192)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EPIPE:  # overwritten while we read
                    continue
                raise
            _, _, text = record.partition(b";")
            found.append(text.partition(b"\n")[0].decode(errors="replace"))
    finally:
        os.close(fd)
    return found
