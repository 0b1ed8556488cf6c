"""Sixty machine instructions' worth of C that Python lacks: make a prepared list of system calls.

They go on where Python cannot: in a child that shares its parent's memory (clone3 with
``CLONE_VM``), where an interpreter would trample on the one that waits for it. And they ask the
kernel for thirty things in the time that one takes through ctypes.

The list is an array of 64-bit words, nine a call: the number, six arguments, room for the kernel's
answer, and what a failure means (``STOP``, ``GO_ON``, ``ELSE``). A negative number ends it.
There is code for x86-64. Elsewhere, and where memory that was writable may not become executable
(SELinux, ``execmem``), there is none, and Python does it (``script``).
"""

import ctypes
import mmap
import os

from ketch.linux.libc import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = 9  # of a call
RESULT = 7  # the word that takes the answer
FAILING = 8  # the word that says what a failure means
END = -1  # in place of a number

STOP, GO_ON, ELSE = range(3)  # ELSE: the next call is made only when this one fails

# rbx is the call at hand. A system call changes rax, rcx and r11 (syscall(2)). Nothing at or above
# the stack pointer is written to: a child of CLONE_VFORK uses the stack of its sleeping parent.
_RUN = (
    "53"  # ............. push rbx
    "4889fb"  # ......... mov rbx, rdi          the list
    "e827000000"  # ..... call make
    "5b"  # ............. pop rbx
    "c3"  # ............. ret
)
_SPAWN = (
    "53"  # ............. push rbx
    "4889d3"  # ......... mov rbx, rdx          the list
    "b8b3010000"  # ..... mov eax, 435          clone3; its arguments are where they belong
    "0f05"  # ........... syscall
    "4885c0"  # ......... test rax, rax
    "7402"  # ........... jz child
    "5b"  # ............. pop rbx
    "c3"  # ............. ret
    "e80e000000"  # child: call make
    "bf7f000000"  # ..... mov edi, 127
    "b8e7000000"  # ..... mov eax, 231          exit_group
    "0f05"  # ........... syscall
    "0f0b"  # ........... ud2
)
_MAKE = (
    "488b03"  # make: ... mov rax, [rbx]        the number
    "4885c0"  # ......... test rax, rax
    "783c"  # ........... js done
    "488b7b08"  # ....... mov rdi, [rbx + 8]    the arguments
    "488b7310"  # ....... mov rsi, [rbx + 16]
    "488b5318"  # ....... mov rdx, [rbx + 24]
    "4c8b5320"  # ....... mov r10, [rbx + 32]
    "4c8b4328"  # ....... mov r8, [rbx + 40]
    "4c8b4b30"  # ....... mov r9, [rbx + 48]
    "0f05"  # ........... syscall
    "48894338"  # ....... mov [rbx + 56], rax   the answer
    "488b4b40"  # ....... mov rcx, [rbx + 64]   what a failure means
    "488d5b48"  # ....... lea rbx, [rbx + 72]   the next call
    "4885c0"  # ......... test rax, rax
    "780c"  # ........... js failed
    "4883f902"  # ....... cmp rcx, ELSE
    "75c7"  # ........... jne make
    "488d5b48"  # ....... lea rbx, [rbx + 72]
    "ebc1"  # ........... jmp make
    "4885c9"  # failed: . test rcx, rcx         STOP
    "75bc"  # ........... jne make
    "c3"  # done: ....... ret
)

_code: "MachineCode | None" = None


class MachineCode:
    """The code in memory; one that is forked has it too."""

    def __init__(self) -> None:
        """Raises OSError where executable memory is refused."""
        code = bytes.fromhex(_RUN + _SPAWN + _MAKE)
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        self._page.write(code)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        readable_and_executable = ctypes.c_int(5)
        if libc.mprotect(
            ctypes.c_void_p(base), ctypes.c_size_t(len(code)), readable_and_executable
        ):
            raise OSError(ctypes.get_errno(), "mprotect")
        kind = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p)
        self.run: Callable[[int], int] = kind(base)
        """Make the list at an address; it ends there, or at a call that fails and must not."""
        kind = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
        self.spawn: Callable[[int, int, int], int] = kind(base + len(_RUN) // 2)
        """clone3(2) of a struct clone_args and its size: the pid, or an errno below 0. The child
        makes the list at the third address, and exits with 127 if that does not become a program.
        """


def load() -> "MachineCode | None":
    """The code for this machine, made once; None where there is none or it is refused."""
    global _code
    if _code is None and os.uname().machine == "x86_64":
        try:
            _code = MachineCode()
        except OSError:
            return None
    return _code
