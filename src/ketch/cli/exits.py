"""Exit codes of the command line: the one place where errors become numbers.

Docker's: 125 for a wrong command line and for an engine that refuses ``run``; 126 and 127 for a
command that cannot be started; 1 for any other error; the process's own code otherwise.
"""

from ketch.errors import KetchError

USAGE = 125
FAILED = 1


def of_run(error: KetchError) -> int:
    """The exit code of ``run`` and ``start -a`` for an error of the engine."""
    text = error.message
    if "executable file not found" in text or "no such file or directory" in text:
        return 127
    if "permission denied" in text or "is a directory" in text:
        return 126
    return USAGE
