"""Bringing what shims run close together in memory, before anything is forked.

Calling a function writes into its code object (a reference count), so each page that holds a code
object that a shim runs becomes private memory of that shim. Import order scatters them: a page of
4 KiB seldom holds more than one. Copies made one after the other lie side by side.
"""

import gc
import sys

from ketch.linux import freeblocks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType, FrameType

_FUNCTION = type(lambda: None)
_copies: "set[CodeType]" = set()


def run_by(body: "Callable[[], None]") -> "set[CodeType]":
    """The code of every function that ``body`` calls."""
    found: set[CodeType] = set()

    def note(frame: "FrameType", event: str, _argument: object) -> None:
        if event == "call":
            found.add(frame.f_code)

    sys.setprofile(note)
    try:
        body()
    finally:
        sys.setprofile(None)
    return found


def gather(codes: "Iterable[CodeType]") -> int:
    """Give each function with one of these a copy of its code; returns how many there were.

    Copies of an earlier call stay where they are, with those they were made with. The new ones have
    to be warmed up anew: CPython specializes code as it runs.
    """
    wanted = set(codes) - _copies
    functions = [
        thing for thing in gc.get_objects() if type(thing) is _FUNCTION and thing.__code__ in wanted
    ]
    freeblocks.use_up()
    for function in functions:
        function.__code__ = function.__code__.replace()
        _copies.add(function.__code__)
    freeblocks.use_up()
    return len(functions)
