"""Processes that wait for the scripts by which they become programs.

A *placeholder* is there before anybody knows what it will be, and runs no Python: it waits at its
*door*, a socket, for calls to make and for files. Who sends them need not be its parent, with which
it shares the memory; all that the sender has to know is the address where its calls go on. So the
parent takes no memory for what they are.
"""

import _socket
import ctypes
import errno
import os
from struct import Struct

from ketch.linux import process, script
from ketch.linux.machine_code import END
from ketch.linux.memory import (
    ANONYMOUS,
    NO_RESERVE,
    PRIVATE,
    READ,
    SHARED,
    WRITE,
    clear_memory,
    map_memory,
    unmap_memory,
)
from ketch.linux.script import STEP, Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Names = list[tuple[str, str]]

DOOR = 64
"""The number of the door: more files than that cannot be sent."""
_ROOM = 8 << 20  # bytes of scripts; execve(2) takes 6 MiB of strings
_LIMIT = 7 << 20  # bytes of one
_STACK = 4096
_RIGHTS = Struct("=qii")  # struct cmsghdr
_CLOEXEC = 1  # FSOPEN_CLOEXEC
_FIRST = 4  # calls of ``_first_calls``

_place = 0
_beginning = b""


class Placeholder:
    """The parent's side.

    ``address`` is where the calls go on; whoever sends some that are not the last ones has to tell
    the new one.
    """

    __slots__ = ("_region", "address", "door", "pid", "pidfd")

    def __init__(self, flags: int, cgroup_fd: int = -1) -> None:
        """``flags`` and ``cgroup_fd`` are for clone3(2). Dies with us. Raises OSError."""
        if script.shares_memory():
            flags |= process.CLONE_VM
        self._region, image = _memory(shared=not script.shares_memory())
        base = self._region + _STACK
        ctypes.memmove(base, image, len(image))
        self.address = base + STEP * _FIRST
        self.door, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            try:
                _open_door(theirs.fileno())
            finally:
                theirs.close()
            try:
                self.pid, self.pidfd = script.clone(base, flags, cgroup_fd, (self._region, _STACK))
            finally:
                os.close(DOOR)
        except BaseException:
            self.forget()
            raise

    def has_begun(self) -> bool:
        """Whether it has received the calls at ``address``."""
        return int.from_bytes(ctypes.string_at(self.address, 8), "little", signed=True) != END

    def await_end(self) -> None:
        """Wait until it is a program, or dead, and shares our memory no more."""
        try:
            while self.door.recv(1):
                pass
        except ConnectionError:
            pass  # it has died, and has not read everything

    def check(self, names: "Names") -> None:
        """Raise ``Refused`` when it died of one of the calls ``names`` at ``address``."""
        script.check(self.address, names)

    def forget(self) -> None:
        """Let go of what it takes to have one; it must not share our memory any more."""
        self.door.close()
        if self._region == _place:
            clear_memory(_place, _ROOM)
        else:
            unmap_memory(self._region, _ROOM)


class Guide:
    """The other side: who sends the calls. ``address`` is where they go on."""

    __slots__ = ("_door", "address")

    def __init__(self, door: int, address: int) -> None:
        self._door = _socket.socket(fileno=door)
        self.address = address

    def prepare(self, calls: Script, fds: "Sequence[int]", filesystems: "Sequence[str]") -> "Names":
        """Have it make ``calls``, open contexts of ``filesystems``, and wait for more.

        The other arguments, and what comes back, as with ``finish``.
        """
        calls.call("close_range", 0, DOOR - 1, 0)
        for filesystem in filesystems:
            calls.call("fsopen", filesystem.encode(), _CLOEXEC, what=filesystem)
        _say_ready(calls, len(filesystems))
        calls.call("close_range", 0, DOOR - 1, 0)
        goes_on = self.address + STEP * (len(calls.names) + 2)
        _wait(calls, goes_on)
        return self.finish(calls, fds)

    def await_ready(self, names: "Names") -> "list[int] | None":
        """The contexts that ``prepare``, with those ``names``, asked for; None when it is dead."""
        space = _socket.CMSG_SPACE(DOOR * 4)
        try:
            data, ancillary, _, _ = self._door.recvmsg(1, space, _socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return None
        fds: list[int] = []
        for _, _, rights in ancillary:
            fds += Struct(f"={len(rights) // 4}i").unpack(rights)
        self.address += STEP * len(names)
        return fds if data else None

    def finish(self, calls: Script, fds: "Sequence[int]") -> "Names":
        """Have it make the last ``calls``, with ``fds`` as its open files from 0 on.

        Returns what to call its calls. Raises OSError: E2BIG, or EPIPE when it is gone.
        """
        image = calls.image(self.address + STEP)
        if len(image) > _LIMIT:
            raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
        loading = Script()
        rest = self.address + STEP, len(image), _socket.MSG_WAITALL
        loading.call("recvfrom", DOOR, *rest, 0, 0, what="the script")
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, Struct(f"={len(fds)}i").pack(*fds))
        self._door.sendmsg([loading.image(self.address)[:STEP]], [rights])
        self._door.sendall(image)
        return [*loading.names, *calls.names]


def make_room() -> None:
    """Have the memory for the placeholders of those whom we fork; they have one at a time."""
    global _place, _beginning
    if not _place:
        # Not reserved: so it stays apart from the memory of the interpreter beside it.
        _place = map_memory(_ROOM, READ | WRITE, PRIVATE | ANONYMOUS | NO_RESERVE)
        _beginning = _first_calls(_place + _STACK)


def _open_door(fd: int) -> None:
    """``fd`` as the file of the door's number, which must be free."""
    found = process.dup_above(fd, DOOR)
    if found != DOOR:
        os.close(found)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def _memory(*, shared: bool) -> "tuple[int, bytes]":
    """A stack, room for scripts, and the first of them; ``shared`` with a child that has a copy."""
    if shared:
        region = map_memory(_ROOM, READ | WRITE, SHARED | ANONYMOUS)
        return region, _first_calls(region + _STACK)
    make_room()
    return _place, _beginning


def _first_calls(address: int) -> bytes:
    """What each placeholder does by itself; room for one more call is behind it."""
    first = Script()
    first.call("prctl", process.PR_SET_PDEATHSIG, process.SIGKILL, 0, 0, 0)
    first.call("close_range", 0, DOOR - 1, 0)
    first.call("close_range", DOOR + 1, process.LAST_FD, 0)
    _wait(first, address + STEP * _FIRST)
    return first.image(address)


def _say_ready(calls: Script, count: int) -> None:
    """Send a byte and the files 0 to ``count``."""
    size = _RIGHTS.size + count * 4
    files = Struct(f"={count}i").pack(*range(count))
    rights = calls.keep(_RIGHTS.pack(size, _socket.SOL_SOCKET, _socket.SCM_RIGHTS) + files)
    byte = calls.words([calls.keep(b"."), 1])
    message = calls.words([0, 0, byte, 1, rights, size, 0])  # struct msghdr
    calls.call("sendmsg", DOOR, message, _socket.MSG_NOSIGNAL)


def _wait(calls: Script, address: int) -> None:
    """Receive a call at ``address``, which is behind this one, and files."""
    size = _RIGHTS.size + DOOR * 4
    call = calls.words([address, STEP])
    message = calls.words([0, 0, call, 1, calls.keep(bytes(size)), size, 0])
    calls.call("recvmsg", DOOR, message, _socket.MSG_WAITALL)
