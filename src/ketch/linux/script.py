"""Scripts: system calls in a row, up to execve(2), that are made without Python in between.

A process writes down what is to be done, looks up all that needs looking up, and then does it
(``run``), has a child do it (``spawn``), or sends it to a process that waits for it
(``placeholder``). Such a child shares its parent's memory until it is a program: nothing is copied
for it, where a forked interpreter costs 2 ms, half of them for the pages that it and its parent
write to.

What the arguments point to is kept by the script, and written out behind its calls.
"""

import ctypes
import mmap
import os
from array import array

from ketch.linux import machine_code, process
from ketch.linux.libc import libc, number
from ketch.linux.machine_code import ELSE, END, FAILING, GO_ON, RESULT, STOP, WORDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

__all__ = ["ELSE", "GO_ON", "STEP", "STOP", "Kept", "Refused", "Script", "check"]

STEP = WORDS * 8
"""Bytes of a call."""
_UNASKED = 1 << 62  # no answer of the kernel's
_ARGUMENTS = 6
_WORD = 8
_LOST = 127  # the exit code of a child that is no program


class Refused(OSError):
    """A call that failed and must not: its name, and what it was about."""

    def __init__(self, code: int, call: str, what: str) -> None:
        super().__init__(code, os.strerror(code))
        self.call = call
        self.what = what


class Kept(int):
    """Where something that a script keeps will be: counted from the first byte that it keeps."""

    __slots__ = ()


class Script:
    """See the module's docstring. ``names`` are the calls, each with what it is about."""

    def __init__(self) -> None:
        self.names: list[tuple[str, str]] = []
        self._words: list[int] = []
        self._kept = bytearray()
        self._pointers: list[tuple[int, list[int]]] = []

    def call(self, name: str, *args: "int | bytes", failing: int = STOP, what: str = "") -> None:
        """Add the system call ``name``; bytes are given as a pointer to them, with a NUL behind.

        ``what`` is for the words of a failure. Raises OSError (ENOSYS) when the number of the call
        is not known on this machine.
        """
        numbers = [arg if isinstance(arg, int) else self.keep(arg) for arg in args]
        room = [0] * (_ARGUMENTS - len(numbers))
        self._words += [number(name), *numbers, *room, _UNASKED, failing]
        self.names.append((name, what))

    def keep(self, data: "bytes | ctypes.Array[Any] | ctypes.Structure") -> Kept:
        """Keep bytes, with a NUL behind; what comes back is for the arguments of calls."""
        place = Kept(len(self._kept))
        self._kept += bytes(data)
        self._kept += bytes(_WORD - len(self._kept) % _WORD)
        return place

    def words(self, words: "Sequence[int]") -> Kept:
        """Keep an array of 64-bit numbers, among them pointers to what is kept."""
        place = self.keep(bytes(len(words) * _WORD))
        self._pointers.append((place, list(words)))
        return place

    def strings(self, words: "Iterable[bytes]") -> Kept:
        """Keep an array of C strings that a null pointer ends."""
        return self.words([*map(self.keep, words), 0])

    def image(self, address: int) -> bytes:
        """All of it as it is to be at ``address``: the calls, room for one more, what is kept."""
        kept = address + len(self._words) * _WORD + STEP
        for place, words in self._pointers:
            row = array("q", [_placed(word, kept) for word in words])
            self._kept[place : place + len(row) * _WORD] = row.tobytes()
        calls = array("q", [_placed(word, kept) for word in self._words])
        calls.extend([END] * WORDS)
        return calls.tobytes() + self._kept

    def run(self) -> None:
        """Be the one that makes the calls; raises ``Refused``."""
        table = self._table(shared=False)
        code = machine_code.load()
        if code is not None:
            code.run(ctypes.addressof(table))
        else:
            make(ctypes.addressof(table))
        check(ctypes.addressof(table), self.names)

    def spawn(self, flags: int, cgroup_fd: int = -1, *, apart: bool = False) -> "tuple[int, int]":
        """A child that makes the calls, as (pid, pidfd); returns when it has become a program.

        ``flags`` and ``cgroup_fd`` are for clone3(2). ``apart``: with a copy of the memory, which
        setns(2) wants of those who enter a user or a time namespace. The caller's handlers of
        signals are not the child's. Raises ``Refused``, and then the child is reaped; or OSError.
        """
        apart = apart or not shares_memory()
        flags |= process.CLONE_VFORK
        if not apart:
            flags |= process.CLONE_VM
        table = self._table(shared=apart)
        child = clone(ctypes.addressof(table), flags, cgroup_fd)
        try:
            check(ctypes.addressof(table), self.names)
        except Refused:
            process.kill_and_reap(*child)
            os.close(child[1])
            raise
        return child

    def _table(self, *, shared: bool) -> "ctypes.Array[ctypes.c_char]":
        """All of it in memory; ``shared`` with a child that has other memory."""
        size = len(self._words) * _WORD + STEP + len(self._kept)
        kind = ctypes.c_char * size
        table = kind.from_buffer(mmap.mmap(-1, size)) if shared else kind()
        table.raw = self.image(ctypes.addressof(table))
        return table


def _placed(word: int, kept: int) -> int:
    return word + kept if type(word) is Kept else word


def clone(
    address: int, flags: int, cgroup_fd: int = -1, stack: "tuple[int, int]" = (0, 0)
) -> "tuple[int, int]":
    """A child that makes the calls at ``address`` and exits if they do not make it a program.

    ``stack`` is the place and the size of the one that it needs when it shares our memory and we
    do not wait for it. Returns pid and pidfd; raises OSError.
    """
    flags |= process.CLONE_CLEAR_SIGHAND
    code = machine_code.load()
    if code is None:
        child = process.clone3(flags, cgroup_fd)
        if not child[0]:
            make(address)
            os._exit(_LOST)
        return child
    arguments, pidfd = process.clone_arguments(flags, cgroup_fd)
    arguments.stack, arguments.stack_size = stack
    pid = code.spawn(ctypes.addressof(arguments), ctypes.sizeof(arguments), address)
    if pid < 0:
        raise OSError(-pid, os.strerror(-pid))
    return pid, pidfd.value


def shares_memory() -> bool:
    """Whether ``clone`` can be asked for a child with our memory (``CLONE_VM``)."""
    return machine_code.load() is not None


def check(address: int, names: "Sequence[tuple[str, str]]") -> None:
    """Raise ``Refused`` for the one of the calls ``names`` at ``address`` that ended them."""
    table = memoryview(ctypes.string_at(address, len(names) * STEP)).cast("q")
    for index, (name, what) in enumerate(names):
        answer = table[index * WORDS + RESULT]
        if answer < 0 and table[index * WORDS + FAILING] == STOP:
            raise Refused(-answer, name, what)


def make(address: int) -> None:
    """What ``machine_code`` does, for machines that have none."""
    while True:
        words = list((ctypes.c_int64 * WORDS).from_address(address))
        if words[0] < 0:
            return
        failed = libc.syscall(*[ctypes.c_long(word) for word in words[:RESULT]]) < 0
        answer = ctypes.c_int64.from_address(address + RESULT * _WORD)
        answer.value = -ctypes.get_errno() if failed else 0
        if failed and words[FAILING] == STOP:
            return
        address += STEP
        if not failed and words[FAILING] == ELSE:
            address += STEP
