"""The terminal of a container: a pty of its own devpts, and /dev/console over it (child side)."""

import os
import stat

from ketch.errors import StartFailed, errno_text
from ketch.linux import mountapi as m
from ketch.linux import terminal
from ketch.linux.paths import O_PATH, open_in_root


def open_terminal(devpts_fd: int, window: "tuple[int, int]") -> "tuple[int, int]":
    """(master, slave) on the given devpts instance; ``window`` is (rows, columns), 0 = unset."""
    if devpts_fd < 0:
        raise StartFailed("a terminal needs a devpts mount at /dev/pts", 128)
    try:
        master, slave = terminal.open_pair(devpts_fd)
    except OSError as error:
        raise StartFailed(f"cannot open a terminal: {errno_text(error)}", 128) from None
    if any(window):
        terminal.set_window(master, *window)
    return master, slave


def find_devpts(root_fd: int) -> int:
    """The devpts of a running container; ``StartFailed`` when /dev/pts holds something else."""
    try:
        fd = open_in_root(root_fd, "/dev/pts", O_PATH | os.O_DIRECTORY)
        ptmx = os.stat("ptmx", dir_fd=fd, follow_symlinks=False)
    except OSError as error:
        raise StartFailed(f"cannot open a terminal: /dev/pts: {errno_text(error)}", 128) from None
    if not stat.S_ISCHR(ptmx.st_mode) or ptmx.st_rdev != os.makedev(5, 2):
        raise StartFailed("cannot open a terminal: /dev/pts/ptmx is no terminal multiplexer", 128)
    return fd


def bind_console(root_fd: int, slave: int) -> None:
    """Mount the terminal at /dev/console, which must not be a link that somebody planted."""
    dev = open_in_root(root_fd, "/dev", O_PATH | os.O_DIRECTORY)
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open("console", flags, 0o600, dir_fd=dev))
    except FileExistsError:
        pass
    target = os.open("console", O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dev)
    os.close(dev)
    if stat.S_ISLNK(os.fstat(target).st_mode):
        raise StartFailed("/dev/console of the container is a symbolic link", 128)
    copy = m.open_tree("", slave)
    m.move_mount(copy, target)
    os.close(copy)
    os.close(target)


def take_terminal(slave: int) -> None:
    """Make the slave the controlling terminal of this new session."""
    terminal.set_controlling(slave)
