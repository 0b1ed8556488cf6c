"""The three standard streams of a process: its ends and ours."""

import os

from ketch.linux.descriptors import close_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NOTHING = (-1, -1, -1)


class Stdio:
    """Pipes for a process without terminal; with one, all fds are -1 and the pty does it.

    ``theirs`` is (stdin, stdout, stderr) as the process gets them. A process without stdin reads
    the end of ``/dev/null``.
    """

    __slots__ = ("err", "into", "out", "theirs")

    def __init__(self, terminal: bool, stdin: bool) -> None:
        self.into = self.out = self.err = -1
        self.theirs = NOTHING
        if terminal:
            return
        if stdin:
            their_in, self.into = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self.into, False)
        else:
            their_in = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.out, their_out = os.pipe2(os.O_CLOEXEC)
        self.err, their_err = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.out, False)
        os.set_blocking(self.err, False)
        self.theirs = (their_in, their_out, their_err)

    @classmethod
    def of(cls, job: "dict[str, Any]") -> "Stdio":
        """As START or EXEC asks."""
        return cls(bool(job["terminal"]), bool(job["stdin"]))

    @classmethod
    def received(cls, pipes: "list[int]") -> "Stdio":
        """Our ends, in the order stdout, stderr, stdin; none for a terminal."""
        stdio = cls(True, False)
        stdio.out, stdio.err, stdio.into = (*pipes, -1, -1, -1)[:3]
        return stdio

    def close_theirs(self) -> None:
        """The process has its own copies: without this, its exit would not end the streams."""
        close_all(fd for fd in self.theirs if fd >= 0)
        self.theirs = NOTHING
