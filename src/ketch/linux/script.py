"""Scripts: system calls in a row, up to execve(2), that are made without Python in between.

A process writes down what is to be done, looks up all that needs looking up, and then does it
(``run``) or has a child do it (``spawn``). That child shares its parent's memory until it is a
program: nothing is copied for it, where a forked interpreter costs 2 ms, half of them for the
pages that it and its parent write to.

What the arguments point to is kept by the script.
"""

import ctypes
import mmap
import os

from ketch.linux import machine_code, process
from ketch.linux.libc import libc, number
from ketch.linux.machine_code import ELSE, END, FAILING, GO_ON, RESULT, STOP, WORDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Table = ctypes.Array[ctypes.c_int64]

__all__ = ["ELSE", "GO_ON", "STOP", "Refused", "Script"]

_UNASKED = 1 << 62  # no answer of the kernel's
_ARGUMENTS = 6
_LOST = 127  # the exit code of a child that is no program


class Refused(OSError):
    """A call that failed and must not: its name, and what it was about."""

    def __init__(self, code: int, call: str, what: str) -> None:
        super().__init__(code, os.strerror(code))
        self.call = call
        self.what = what


class Script:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._words: list[int] = []
        self._names: list[tuple[str, str]] = []
        self._kept: list[Any] = []

    def call(self, name: str, *args: "int | bytes", failing: int = STOP, what: str = "") -> None:
        """Add the system call ``name``; bytes are given as a pointer to them, with a NUL behind.

        ``what`` is for the words of a failure. Raises OSError (ENOSYS) when the number of the call
        is not known on this machine.
        """
        numbers = [arg if isinstance(arg, int) else self.keep(arg) for arg in args]
        room = [0] * (_ARGUMENTS - len(numbers))
        self._words += [number(name), *numbers, *room, _UNASKED, failing]
        self._names.append((name, what))

    def keep(self, data: "bytes | ctypes.Array[Any] | ctypes.Structure") -> int:
        """The address of something that lives as long as the script."""
        held = ctypes.create_string_buffer(data) if isinstance(data, bytes) else data
        self._kept.append(held)
        return ctypes.addressof(held)

    def strings(self, words: "Sequence[bytes]") -> int:
        """The address of an array of C strings that a null pointer ends."""
        return self.keep((ctypes.c_char_p * (len(words) + 1))(*words, None))

    def run(self) -> None:
        """Be the one that makes the calls; raises ``Refused``."""
        table = self._table(shared=False)
        code = machine_code.load()
        if code is not None:
            code.run(ctypes.addressof(table))
        else:
            _run(table)
        self._check(table)

    def spawn(self, flags: int, cgroup_fd: int = -1, *, apart: bool = False) -> "tuple[int, int]":
        """A child that makes the calls, as (pid, pidfd); returns when it has become a program.

        ``flags`` and ``cgroup_fd`` are for clone3(2). ``apart``: with a copy of the memory, which
        setns(2) wants of those who enter a user or a time namespace. The caller's handlers of
        signals are not the child's. Raises ``Refused``, and then the child is reaped; or OSError.
        """
        code = machine_code.load()
        apart = apart or code is None
        flags |= process.CLONE_VFORK | process.CLONE_CLEAR_SIGHAND
        if not apart:
            flags |= process.CLONE_VM
        table = self._table(shared=apart)
        if code is not None:
            arguments, pidfd = process.clone_arguments(flags, cgroup_fd)
            pid = code.spawn(
                ctypes.addressof(arguments), ctypes.sizeof(arguments), ctypes.addressof(table)
            )
            if pid < 0:
                raise OSError(-pid, os.strerror(-pid))
            child = pid, pidfd.value
        else:
            child = process.clone3(flags, cgroup_fd)
            if not child[0]:
                _run(table)
                os._exit(_LOST)
        try:
            self._check(table)
        except Refused:
            process.kill_and_reap(*child)
            os.close(child[1])
            raise
        return child

    def _table(self, *, shared: bool) -> "Table":
        """The calls for ``machine_code``; ``shared`` with a child that has other memory."""
        words = [*self._words, END]
        kind = ctypes.c_int64 * len(words)
        if not shared:
            return kind(*words)
        table = kind.from_buffer(mmap.mmap(-1, ctypes.sizeof(kind)))
        ctypes.memmove(table, kind(*words), ctypes.sizeof(kind))
        return table

    def _check(self, table: "Table") -> None:
        """Raise ``Refused`` for the call that ended the script."""
        for index, (name, what) in enumerate(self._names):
            answer = table[index * WORDS + RESULT]
            if answer < 0 and table[index * WORDS + FAILING] == STOP:
                raise Refused(-answer, name, what)


def _run(table: "Table") -> None:
    """What ``machine_code`` does, for machines that have none."""
    start = 0
    while table[start] >= 0:
        words = table[start : start + WORDS]
        failed = libc.syscall(*[ctypes.c_long(word) for word in words[:RESULT]]) < 0
        table[start + RESULT] = -ctypes.get_errno() if failed else 0
        if failed and words[FAILING] == STOP:
            return
        start += WORDS
        if not failed and words[FAILING] == ELSE:
            start += WORDS
