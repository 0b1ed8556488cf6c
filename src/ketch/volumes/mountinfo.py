"""What is mounted where, as this process sees it (proc_pid_mountinfo(5))."""

import os


def mounted_below(folder: str) -> "list[str]":
    """Mount points below a directory ("" = all), in the order in which they were made."""
    prefix = os.fsencode(folder.rstrip("/") + "/")
    with open("/proc/self/mountinfo", "rb") as table:
        paths = [_unescaped(line.split(b" ")[4]) for line in table]
    return [os.fsdecode(path) for path in paths if path.startswith(prefix)]


def _unescaped(path: bytes) -> bytes:
    """Space, tab, newline and backslash are written in octal."""
    for code in (b"\\040", b"\\011", b"\\012"):
        path = path.replace(code, bytes([int(code[1:], 8)]))
    return path.replace(b"\\134", b"\\")
