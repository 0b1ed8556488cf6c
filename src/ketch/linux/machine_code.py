"""What Python lacks to make a prepared list of system calls: a few machine instructions.

They go on where Python cannot: in a child that shares its parent's memory (clone3 with
``CLONE_VM``), where an interpreter would trample on the one that waits for it. And they ask the
kernel for thirty things in the time that one takes through ctypes.

The list is an array of 64-bit words, nine a call: the number, six arguments, room for the kernel's
answer, and what a failure means (``STOP``, ``GO_ON``, ``ELSE``). A negative number ends it.
The instructions are in packaging/machine_code/script.s, for x86-64. On other machines, and where
memory may not be made executable, there are none, and Python does it (``script``).
"""

import ctypes
import os

from ketch.linux.memory import load_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = 9  # of a call
RESULT = 7  # the word that takes the answer
FAILING = 8  # the word that says what a failure means
END = -1  # in place of a number

STOP, GO_ON, ELSE = range(3)  # ELSE: the next call is made only when this one fails

_CODE = bytes.fromhex(
    "534889fbe8270000005bc3534889d3b8b30100000f054885c074025bc3e80e000000bf7f000000b8e70000000f05"
    "0f0b488b034885c0783c488b7b08488b7310488b53184c8b53204c8b43284c8b4b300f0548894338488b4b40488d"
    "5b484885c0780c4883f90275c7488d5b48ebc14885c975bcc3"
)
_SPAWN = 0x0B  # where the second routine begins

_code: "MachineCode | None" = None


class MachineCode:
    """The routines in memory, ready to be called."""

    def __init__(self) -> None:
        """Raises OSError where executable memory is refused."""
        address = load_code(_CODE)
        kind = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p)
        self.run: Callable[[int], int] = kind(address)
        """Make the list at an address; it ends there, or at a call that fails and must not."""
        kind = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
        self.spawn: Callable[[int, int, int], int] = kind(address + _SPAWN)
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
