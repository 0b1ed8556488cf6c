"""Entering the working directory of a process without being led out of the root."""

import os

from ketch.errors import StartFailed
from ketch.linux.paths import O_PATH, make_directories, open_in_root
from ketch.runtime.program import exit_code_of


def make(root_fd: int, path: str) -> None:
    """Make the directory ``path`` below ``root_fd`` where it is missing, as root, mode 0755."""
    _check_absolute(path)
    try:
        os.close(make_directories(root_fd, path))
    except OSError as error:
        raise _failure(path, error) from None


def enter(root_fd: int, path: str) -> None:
    """Change to ``path`` below ``root_fd``.

    Magic links (``/proc/self/fd/3``) are refused by openat2(2); that the result is inside the root
    is checked besides, since a directory outside of it has no path (getcwd(2)).
    """
    _check_absolute(path)
    try:
        fd = open_in_root(root_fd, path, O_PATH | os.O_DIRECTORY)
        os.fchdir(fd)
        os.close(fd)
    except OSError as error:
        raise _failure(path, error) from None
    check_inside()


def _check_absolute(path: str) -> None:
    if not path.startswith("/") or "\0" in path:
        raise StartFailed(f'working directory "{path}" is not an absolute path', 128)


def _failure(path: str, error: OSError) -> StartFailed:
    reason, code = (error.strerror or "").lower(), exit_code_of(error.errno or 0)
    return StartFailed(f'cannot use "{path}" as working directory: {reason}', code)


def check_inside() -> None:
    """Raise ``StartFailed`` when the current directory is not below the root (getcwd(2))."""
    try:
        inside = os.getcwd().startswith("/")
    except FileNotFoundError:
        inside = False
    if not inside:
        raise StartFailed("the working directory is outside of the container's root", 128)
