"""Keeping containers from overwriting the interpreter that starts them.

A program in a container can be a script with ``#!/proc/self/exe`` in its first line. The kernel
resolves that in the process that calls execve(2), so what runs then *is* our interpreter, as a
process of the container: another one opens ``/proc/<pid>/exe`` and writes, as root, into a file of
the host (CVE-2019-5736). So the processes that become containers run from a read-only mount of
the interpreter, which is attached nowhere: whoever opens the executable by that way gets EROFS.
"""

import os
import sys

from ketch.linux import mountapi as m

_MARK = "KETCH_INTERPRETER_SEALED"


def is_sealed() -> bool:
    """Whether the file that this process runs from cannot be written through /proc/self/exe."""
    return bool(os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY)


def seal() -> None:
    """Execute this program anew, with the same arguments, from a sealed interpreter.

    Returns only when the interpreter is sealed already. To be called before threads are started or
    fds opened that matter. Raises OSError; needs CAP_SYS_ADMIN. Linux 5.12 (mount_setattr).
    """
    if os.environ.pop(_MARK, None) is not None or is_sealed():
        if not is_sealed():
            raise OSError(30, "the interpreter could not be made read-only", sys.executable)
        return
    fd = m.open_tree(os.path.realpath("/proc/self/exe"))
    m.mount_setattr(fd, m.ATTR_RDONLY, propagation=m.MS_PRIVATE)
    arguments = [sys.executable, *sys.orig_argv[1:]]
    os.execve(fd, arguments, {**os.environ, _MARK: "1"})
