"""``exit.json``: how a container ended, kept until the daemon has it on record.

The end of an exec process is beside its supervisor's socket, and only if no daemon was there to
hear of it.
"""

import os

from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "exit.json"
ENDED = ".ended"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_ROOM = b" " * 256


def write(bundle: str, status: "dict[str, Any]", durable: bool = True) -> None:
    """Write it whole or not at all: temporary file, rename. Raises OSError.

    With ``durable`` it outlives a power cut too (fsync of the file and of the directory). The
    temporary file of ``prepare`` has its block already: a disk that is full by now does not lose
    the exit.
    """
    path = f"{bundle}/{NAME}"
    fd = os.open(f"{path}.tmp", _FLAGS, 0o600)
    try:
        os.ftruncate(fd, os.write(fd, fastjson.dumps(status)))
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(f"{path}.tmp", path)
    if not durable:
        return
    directory = os.open(bundle, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read(bundle: str) -> "dict[str, Any] | None":
    """The last run's end; None when there is none or it is damaged."""
    try:
        with open(f"{bundle}/{NAME}", "rb") as file:
            status = fastjson.loads(file.read())
    except (OSError, ValueError):
        return None
    return status if isinstance(status, dict) else None


def prepare(bundle: str) -> None:
    """Before a new run: forget the last one's end, and take the room for the next. Raises OSError
    (ENOSPC)."""
    path = f"{bundle}/{NAME}"
    try:
        os.rename(path, f"{path}.tmp")
    except FileNotFoundError:
        pass
    fd = os.open(f"{path}.tmp", _FLAGS, 0o600)
    try:
        os.write(fd, _ROOM)
    finally:
        os.close(fd)


def leave(socket_path: str, status: "dict[str, Any]") -> None:
    """How an exec process ended, for the next daemon: it need not outlive the machine. Raises
    OSError."""
    path = _beside(socket_path)
    fd = os.open(f"{path}.tmp", _FLAGS | os.O_TRUNC, 0o600)
    try:
        os.write(fd, fastjson.dumps(status))
    finally:
        os.close(fd)
    os.rename(f"{path}.tmp", path)


def take(socket_path: str) -> "int | None":
    """The exit status that was left, which is then forgotten; None when there is none."""
    path = _beside(socket_path)
    try:
        with open(path, "rb") as file:
            status = fastjson.loads(file.read())
        os.unlink(path)
    except (OSError, ValueError):
        return None
    return int(status["status"])


def _beside(socket_path: str) -> str:
    return socket_path.removesuffix(".sock") + ENDED
