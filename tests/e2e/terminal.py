"""A program on a terminal, and what a person types there."""

from __future__ import annotations

import os
import pty
import signal
import time
from collections.abc import Sequence
from select import select

from e2e.ketchd_process import TIMEOUT


class Terminal:
    """It runs on one of its own; ``close`` ends it."""

    def __init__(self, words: Sequence[str], env: dict[str, str]) -> None:
        self.text = b""
        self._seen = 0
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.execvpe(words[0], words, env)

    def say(self, text: bytes) -> None:
        os.write(self._fd, text)

    def read_to(self, wanted: bytes) -> bytes:
        """Wait until it shows that; what it has shown since the last time."""
        deadline = time.monotonic() + TIMEOUT
        while (end := self.text.find(wanted, self._seen)) < 0:
            assert time.monotonic() < deadline, f"no {wanted!r} in {self.text[self._seen :]!r}"
            if not self._read():
                raise AssertionError(f"it ended without {wanted!r}: {self.text[self._seen :]!r}")
        shown = self.text[self._seen : end]
        self._seen = end + len(wanted)
        return shown

    def _read(self) -> bool:
        """Whether there may be more."""
        if select([self._fd], [], [], 1)[0]:
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:
                return False
            self.text += data.replace(b"\r", b"")  # each terminal on the way adds one
            return bool(data)
        return True

    def ended(self) -> int:
        """Its exit status, once it is over."""
        while self._read():
            pass
        pid, self._pid = self._pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def close(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._fd)
