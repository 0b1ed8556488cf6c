"""Exit codes of the command line: the one place where errors become numbers.

Docker's: 125 for a wrong command line and for an engine that refuses ``run``; 126 and 127 for a
command that cannot be started; 1 for any other error; the process's own code otherwise.
"""

import sys

from ketch.errors import KetchError

USAGE = 125
FAILED = 1
INTERRUPTED = 130


def of_run(error: KetchError) -> int:
    """The exit code of ``run`` and ``start -a`` for an error of the engine."""
    text = error.message
    if "executable file not found" in text or "no such file or directory" in text:
        return 127
    if "permission denied" in text or "is a directory" in text:
        return 126
    return USAGE


def prefix(error: KetchError) -> str:
    """What goes before an error's message, in docker's words."""
    return "Error response from daemon: " if error.from_engine else ""


def of_system(command: str, error: OSError) -> str:
    """A failed system call on this side, in a sentence."""
    reason = (error.strerror or str(error)).lower()
    return f"open {error.filename}: {reason}" if error.filename else f"ketch {command}: {reason}"


def after_flush(code: int) -> int:
    """The exit code once the output is out; output that cannot be written is no success."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:
        return code or FAILED
    return code


def broken_pipe() -> int:
    """Nobody reads our output any more: end as if SIGPIPE had ended us, without a word.

    When the output is whole, it was the engine's end that broke; that is said.
    """
    import os
    import select

    poller = select.poll()
    for fd in (1, 2):
        poller.register(fd, 0)  # POLLERR comes unasked: a pipe without a reader (poll(2))
    broken = {fd for fd, events in poller.poll(0) if events & select.POLLERR}
    null = os.open(os.devnull, os.O_WRONLY)
    for fd in broken:
        os.dup2(null, fd)  # what is buffered must not fail again when the interpreter ends
    if not broken:
        sys.stderr.write("ketch: the engine closed the connection in the middle of a request\n")
        return FAILED
    return 141
