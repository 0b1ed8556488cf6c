"""Finding and executing the container's program, with the words that Docker's users know."""

import errno
import os
import stat

from ketch.errors import StartFailed
from ketch.runtime import init_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# What Docker makes of an error: found but cannot be run, or not found; 128 for the rest.
_CANNOT_RUN = (errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ENOTDIR, errno.ETXTBSY)


def exit_code_of(code: int) -> int:
    """126, 127 or 128 for an errno of execve(2)."""
    if code in (errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG):
        return 127
    return 126 if code in _CANNOT_RUN else 128


def find(name: str, path: str) -> str:
    """The file to execute for ``name``; raises ``StartFailed``.

    With a slash it is taken as it is, relative to the current directory; otherwise searched in
    the colon-separated ``path``.
    """
    if "/" in name:
        _check(name)
        return name
    for directory in path.split(":"):
        candidate = f"{directory or '.'}/{name}"
        if name and _is_executable(candidate):
            return candidate
    raise StartFailed(f'exec: "{name}": executable file not found in $PATH', 127)


def _is_executable(path: str) -> bool:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & 0o111)


def _check(path: str) -> None:
    try:
        found = os.stat(path)
    except OSError as error:
        reason = (error.strerror or "").lower()
        code = exit_code_of(error.errno or 0)
        raise StartFailed(f'exec: "{path}": stat {path}: {reason}', code) from None
    if stat.S_ISDIR(found.st_mode):
        raise StartFailed(f'exec: "{path}": is a directory: permission denied', 126)
    if not found.st_mode & 0o111:
        raise StartFailed(f'exec: "{path}": permission denied', 126)


def execute(path: str, args: "list[str]", env: "dict[str, str]") -> "NoReturn":
    """execve(2); raises ``StartFailed`` when it returns."""
    try:
        os.execve(path, args, env)
    except OSError as error:
        code, reason = error.errno or 0, (error.strerror or "").lower()
        raise StartFailed(f"exec {path}: {reason}", exit_code_of(code)) from None
    except ValueError as error:
        raise StartFailed(f"exec {path}: {error}", 128) from None


def execute_init(init: int, path: str, args: "list[str]", env: "dict[str, str]") -> "NoReturn":
    """Execute the init program (an fd), which starts ``path``; raises ``StartFailed``.

    A seccomp profile may forbid execveat(2): then through the link in /proc.
    """
    args, env = init_program.command(args), init_program.environment(env, path)
    try:
        os.execve(init, args, env)
    except (OSError, ValueError):
        execute(f"/proc/self/fd/{init}", args, env)


def environment(entries: "list[str]") -> "dict[str, str]":
    """``KEY=value`` strings as a mapping; the last of a key wins, those without ``=`` fall out."""
    pairs = (entry.partition("=") for entry in entries)
    return {key: value for key, equals, value in pairs if equals and key}
