"""Entering the working directory of a process without being led out of the root."""

import os

from ketch.errors import StartFailed
from ketch.linux.paths import O_PATH, make_directories, open_in_root
from ketch.runtime.program import exit_code_of


def enter(root_fd: int, path: str, make: bool) -> None:
    """Change to ``path`` below ``root_fd``; with ``make``, missing directories are made.

    Magic links (``/proc/self/fd/3``) are refused by openat2(2); that the result is inside the root
    is checked besides, since a directory outside of it has no path (getcwd(2)).
    """
    if not path.startswith("/"):
        raise StartFailed(f'working directory "{path}" is not an absolute path', 128)
    try:
        if make:
            fd = make_directories(root_fd, path)
        else:
            fd = open_in_root(root_fd, path, O_PATH | os.O_DIRECTORY)
        os.fchdir(fd)
        os.close(fd)
    except OSError as error:
        reason = (error.strerror or "").lower()
        code = exit_code_of(error.errno or 0)
        raise StartFailed(f'cannot enter working directory "{path}": {reason}', code) from None
    check_inside()


def check_inside() -> None:
    """Raise ``StartFailed`` when the current directory is not below the root (getcwd(2))."""
    try:
        inside = os.getcwd().startswith("/")
    except FileNotFoundError:
        inside = False
    if not inside:
        raise StartFailed("the working directory is outside of the container's root", 128)
