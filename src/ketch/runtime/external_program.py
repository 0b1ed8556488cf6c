"""An external OCI runtime as a program: its command line, its words when it fails.

The command line is the one that runc has and others follow (``create``, ``start``, ``exec``,
``delete`` with ``--root``, ``--log``, ``--pid-file``, ``--console-socket``).
"""

import _socket
import os
from struct import Struct

from ketch.errors import StartFailed
from ketch.linux import fastjson, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Body = dict[str, Any]

_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_IGNORED_BY_PYTHON = (13, 25)  # SIGPIPE, SIGXFSZ: a program expects them at their default
_NOT_FOUND = ("not found", "no such file or directory")
_ERRNO_TEXTS = ("No such file or directory", "Permission denied")
_LONGEST_LOG = 64 << 10


class Program:
    """``wire`` is ``{"path", "args", "root"}``; ``root`` is a directory for this runtime alone."""

    __slots__ = ("_args", "_path", "root")

    def __init__(self, wire: "Body") -> None:
        self._path = str(wire["path"])
        self._args = [str(word) for word in wire.get("args") or ()]
        self.root = str(wire["root"])

    def folder(self, name: str) -> str:
        """Where the files of a container or exec process are."""
        return f"{self.root}/bundles/{name}"

    def run(self, words: "Sequence[str]", stdio: "Sequence[int]" = ()) -> int:
        """Run it to its end; the exit status (negative: the signal). Raises OSError."""
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        streams = [fd if fd >= 0 else null for fd in (*stdio, null, null, null)[:3]]
        try:
            pid = os.posix_spawn(
                self._path,
                [self._path, *self._args, "--root", f"{self.root}/state", *words],
                _ENVIRONMENT,
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate(streams)],
                setsigdef=_IGNORED_BY_PYTHON,
                setsigmask=(),
            )
        finally:
            os.close(null)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def delete(self, container: str) -> None:
        """Take a container away, running or not, with its files; no error when there is none."""
        if os.path.lexists(f"{self.root}/state/{container}"):
            self.run(["delete", "--force", container])
        self.forget(container)

    def forget(self, name: str) -> None:
        """Remove the files of ``name``."""
        folder = self.folder(name)
        try:
            for entry in os.listdir(folder):
                if os.path.isdir(f"{folder}/{entry}"):  # a mount point of the maker
                    os.rmdir(f"{folder}/{entry}")
                else:
                    os.unlink(f"{folder}/{entry}")
            os.rmdir(folder)
        except FileNotFoundError:
            return


class Errand:
    """One ``create`` or ``exec``: its files, and what comes of it."""

    def __init__(self, program: Program, name: str, has_terminal: bool) -> None:
        self._program = program
        self.folder = program.folder(name)
        os.makedirs(f"{program.root}/bundles", 0o700, exist_ok=True)
        os.mkdir(self.folder, 0o700)
        self._folder_fd = os.open(self.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._console = self._listen() if has_terminal else None

    def _listen(self) -> "_socket.socket":
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        sock.bind(f"/proc/self/fd/{self._folder_fd}/tty")
        sock.listen(1)
        return sock

    def options(self) -> "list[str]":
        """``--pid-file`` and, with a terminal, ``--console-socket``."""
        words = ["--pid-file", f"{self.folder}/pid"]
        if self._console is not None:  # by way of /proc: sun_path is short (unix(7))
            words += ["--console-socket", f"/proc/{os.getpid()}/fd/{self._folder_fd}/tty"]
        return words

    def run(self, words: "Sequence[str]", stdio: "Sequence[int]", command: str) -> None:
        """Run the program; raises ``StartFailed`` with what it has logged."""
        log = f"{self.folder}/log"
        status = self._program.run(["--log", log, "--log-format", "json", *words], stdio)
        if status:
            text = _last_error(log) or f"the runtime failed with status {status}"
            raise StartFailed(text, _exit_code(text, command))

    def pid(self) -> int:
        """The process that was made."""
        with open(f"{self.folder}/pid", "rb") as file:
            return int(file.read())

    def master(self, window: "Sequence[int]") -> int:
        """The terminal's master, which waits in the console socket; -1 without a terminal."""
        if self._console is None:
            return -1
        fd, _ = self._console._accept()  # type: ignore[attr-defined]
        sender = _socket.socket(fileno=fd)
        _, ancillary, _, _ = sender.recvmsg(4096, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
        sender.close()
        for level, kind, data in ancillary:
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                master = int(Struct("=i").unpack(data[:4])[0])
                if any(window):
                    terminal.set_window(master, window[0], window[1])
                return master
        raise StartFailed("the runtime sent no terminal", 128)

    def close(self) -> None:
        """Close what was opened; the files stay."""
        os.close(self._folder_fd)
        if self._console is not None:
            self._console.close()


def _last_error(log: str) -> str:
    """The last error of a log in JSON lines."""
    text = ""
    for line in _lines(log):
        try:
            entry = fastjson.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal"):
            text = str(entry.get("msg", ""))
    for words in _ERRNO_TEXTS:  # clients look for them in Go's spelling
        text = text.replace(words, words.lower())
    return text


def _lines(log: str) -> "list[bytes]":
    try:
        with open(log, "rb") as file:
            return file.read(_LONGEST_LOG).splitlines()
    except FileNotFoundError:
        return []


def _exit_code(text: str, command: str) -> int:
    """Docker's exit code of a start that failed: 127 no such program, 126 not to be executed."""
    if command not in text and "executable" not in text:
        return 128
    if any(words in text for words in _NOT_FOUND):
        return 127
    return 126 if "permission denied" in text else 128
