"""Where ``ketch-runtime`` says what went wrong: stderr, and the file that ``--log`` names.

Callers such as containerd's shim read the last line of level ``error`` in the JSON log.
"""

import os
import time

from ketch.errors import InvalidParameter
from ketch.linux import fastjson


class Log:
    """``path`` is the file (``""`` = none), ``form`` is ``text`` or ``json``."""

    __slots__ = ("debugging", "form", "path")

    def __init__(self, path: str = "", form: str = "text", debugging: bool = False) -> None:
        if form not in ("text", "json"):
            raise InvalidParameter(f'invalid log-format "{form}": it is text or json')
        self.path = os.path.abspath(path) if path else ""
        self.form = form
        self.debugging = debugging

    def debug(self, message: str) -> None:
        """Said only with ``--debug``, in the log."""
        if self.debugging:
            self._write("debug", message)

    def warn(self, message: str) -> None:
        """Something failed that does not stop the command."""
        self._write("warning", message)

    def error(self, message: str) -> None:
        """Why the command failed; also on stderr."""
        if self.path:
            _put(2, f"ketch-runtime: {message}\n".encode(errors="surrogateescape"))
        self._write("error", message)

    def _write(self, level: str, message: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self.form == "json":
            line = fastjson.dumps({"level": level, "msg": message, "time": stamp})
        else:
            quoted = fastjson.dumps(message)
            line = f'time="{stamp}" level={level} msg='.encode() + quoted
        if not self.path:
            _put(2, line + b"\n")
            return
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            fd = os.open(self.path, flags, 0o644)
        except OSError:
            return
        _put(fd, line + b"\n")
        os.close(fd)


def _put(fd: int, data: bytes) -> None:
    try:
        os.write(fd, data)
    except OSError:
        pass  # nobody listens: the exit status still tells
