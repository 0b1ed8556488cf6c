"""Worker functions in a forked child that is chrooted into a tree."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path


def run_in_root(root: Path, task: Callable[..., object], args: dict, fds: list[int] | None = None):
    """What ``task(args, fds)`` returns or raises with ``root`` as its root."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(root, write_fd, lambda: task(args, fds or []))
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as answer:
        kind, value = pickle.loads(answer.read())
    os.waitpid(pid, 0)
    if kind == "error":
        raise value
    return value


def _child(root: Path, write_fd: int, work: Callable[[], object]) -> None:
    try:
        os.chroot(root)
        os.chdir("/")
        answer: tuple[str, object] = ("ok", work())
    except BaseException as error:
        error.__cause__ = error.__context__ = None
        answer = ("error", error)
    with os.fdopen(write_fd, "wb") as out:
        out.write(pickle.dumps(answer))
    os._exit(0)
