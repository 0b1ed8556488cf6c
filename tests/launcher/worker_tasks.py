"""Tasks that the worker tests run; the tests' launcher entry registers them below ``ketch``."""

import os
import sys
import time
from typing import Any

from ketch.linux import capabilities
from ketch.runtime import failures

Args = dict[str, Any]


def report(args: Args, fds: list[int]) -> Args:
    return {"args": args, "read": "".join(os.read(fd, 100).decode() for fd in fds)}


def fail(args: Args, fds: list[int]) -> Args:
    if args.get("errno"):
        raise OSError(args["errno"], os.strerror(args["errno"]))
    raise failures.KINDS[args["kind"]](args["text"])


def sleep(args: Args, fds: list[int]) -> Args:
    with open(args["pid_file"], "w") as file:
        file.write(str(os.getpid()))
    time.sleep(1000)
    return {}


def origin(args: Args, fds: list[int]) -> Args:
    if fds:
        os.read(fds[0], 1)  # until the test says so
    return {"nursery": os.getppid(), "loaded": args.get("module") in sys.modules}


def _names(tree: int) -> list[str]:
    """A mount's fd is O_PATH; it has to be opened to be read."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=tree)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def trees(args: Args, fds: list[int]) -> Args:
    *directories, last = fds
    return {
        "lists": [sorted(_names(fd)) for fd in directories],
        "last": os.read(last, 9).decode(),
    }


def look(args: Args, fds: list[int]) -> Args:
    with open("/written", "w") as file:
        file.write("by the worker")
    try:
        __import__("json")
        imported = "json"
    except ImportError as error:
        imported = type(error).__name__
    return {
        "entries": os.listdir("/"),
        "bin": os.listdir("/bin"),
        "import": imported,
        "capabilities": capabilities.get()[1] | capabilities.bounding(),
        "open_fds": sum(_is_open(fd) for fd in range(256)),
    }


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
