"""Reading and writing the small files of a cgroup directory."""

import os

from ketch.errors import Unsupported, errno_text


def write(directory: str, name: str, value: str) -> None:
    """Write one value in one write(2), as the kernel wants it; raises OSError with the path."""
    path = f"{directory}/{name}"
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from None
    finally:
        os.close(fd)


def read(directory: str, name: str) -> str:
    """The content without the final newline."""
    fd = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
    finally:
        os.close(fd)
    return b"".join(chunks).decode().strip()


def read_keyed(directory: str, name: str, key: str) -> int:
    """The number after ``key`` in a flat-keyed file; 0 when file or key is missing."""
    try:
        text = read(directory, name)
    except OSError:
        return 0
    for line in text.splitlines():
        word, _, value = line.partition(" ")
        if word == key:
            return int(value)
    return 0


def set_limit(directory: str, name: str, value: str, option: str) -> None:
    """Write a limit that a user asked for; a missing file means that the kernel cannot do it."""
    set_limits(directory, name, [value], option)


def set_limits(directory: str, name: str, values: "list[str]", option: str) -> None:
    """``set_limit`` of several values of one file, in order, one write(2) each."""
    value = ""
    try:
        fd = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            for value in values:
                os.write(fd, value.encode())
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise Unsupported(f"{option} is not supported by this kernel: no {name}") from None
    except OSError as error:
        raise Unsupported(
            f"the kernel refused {option} = {value} ({name}): {errno_text(error)}"
        ) from None


def child_directories(directory: str) -> "list[str]":
    """The cgroups right below ``directory``."""
    try:
        with os.scandir(directory) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def descendants(directory: str) -> "list[str]":
    """``directory`` and all cgroups below it, deepest first."""
    found: list[str] = []
    for child in child_directories(directory):
        found += descendants(child)
    found.append(directory)
    return found
