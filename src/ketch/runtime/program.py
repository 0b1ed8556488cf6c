"""Finding and executing the container's program, with the words that Docker's users know."""

import errno
import os
import stat

from ketch.errors import StartFailed, errno_text
from ketch.linux.script import GO_ON, Refused
from ketch.runtime import init_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ketch.linux.script import Script

_AT_EMPTY_PATH = 0x1000

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


def execute(
    script: "Script", init: int, path: str, args: "list[str]", env: "dict[str, str]"
) -> None:
    """Let a script end in ``path``, or in the init program (an fd, or -1) that starts ``path``.

    Raises ``StartFailed`` when there is a NUL in what the kernel reads up to one.
    """
    if init >= 0:
        args, env = init_program.command(args), init_program.environment(env, path)
    words = script.strings(_encoded(path, args))
    variables = script.strings(_encoded(path, [f"{key}={value}" for key, value in env.items()]))
    if init >= 0:
        script.call("execveat", init, b"", words, variables, _AT_EMPTY_PATH, failing=GO_ON)
        path = f"/proc/self/fd/{init}"  # a seccomp profile may forbid execveat(2)
    script.call("execve", os.fsencode(path), words, variables, what=path)


def _encoded(path: str, words: "Iterable[str]") -> "list[bytes]":
    encoded = [os.fsencode(word) for word in (path, *words)]
    if any(b"\0" in word for word in encoded):
        raise StartFailed(f"exec {path}: embedded null byte", 128)
    return encoded[1:]


def failure(error: Refused) -> StartFailed:
    """Why a script did not become the program."""
    reason = errno_text(error).lower()
    if error.call == "execve":
        return StartFailed(f"exec {error.what}: {reason}", exit_code_of(error.errno or 0))
    call = f"{error.call}: {error.what}" if error.what else error.call
    return StartFailed(f"cannot set up the process: {call}: {reason}", 128)


def environment(entries: "list[str]") -> "dict[str, str]":
    """``KEY=value`` strings as a mapping; the last of a key wins, those without ``=`` fall out."""
    pairs = (entry.partition("=") for entry in entries)
    return {key: value for key, equals, value in pairs if equals and key}
