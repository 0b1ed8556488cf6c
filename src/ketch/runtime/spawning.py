"""Starting the launcher process, detached from the daemon."""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
from pathlib import Path

from ketch.errors import Unavailable
from ketch.linux import open_files
from ketch.linux.process import pidfd_open
from ketch.runtime.wire import settle

ENTRY = Path(__file__).resolve().parent.parent / "daemon" / "launcher_main.py"
_TIMEOUT = 30.0  # seconds: on a machine that is emulated it may need ten


async def spawn(exec_root: str, entry: Path = ENTRY) -> bool:
    """Start a launcher and await that it answers; False when another one holds the lock.

    Raises ``Unavailable`` with what it said. One that dies without a word was killed: there is
    another try.
    """
    said = await _try(exec_root, entry) or await _try(exec_root, entry)
    if said not in ("ready", "busy"):
        log = f"{exec_root}/launcher.log"
        raise Unavailable(f"the launcher could not be started: {said or 'it died'}; see {log}")
    return said == "ready"


async def _try(exec_root: str, entry: Path) -> str:
    """What a launcher says of its beginning; nothing if it died."""
    read, write = os.pipe()
    try:
        pid = _spawn(exec_root, entry, write)
    finally:
        os.close(write)
    try:
        async with asyncio.timeout(_TIMEOUT):
            said = await _read_all(read)
            await _reap(pid)
    except TimeoutError:
        raise Unavailable(f"the launcher did not answer within {_TIMEOUT:.0f} s") from None
    finally:
        os.close(read)
    return said


def _spawn(exec_root: str, entry: Path, report: int) -> int:
    log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    # Without docstrings (-OO) what a shim touches lies on fewer pages.
    flags, site_packages = ["-I", "-S", "-OO"], sysconfig.get_path("purelib")
    arguments = [sys.executable, *flags, str(entry), exec_root, site_packages]
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
    }
    file_actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, f"{exec_root}/launcher.log", log_flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        (os.POSIX_SPAWN_DUP2, report, 3),
    ]
    with open_files.as_given():
        return os.posix_spawn(sys.executable, arguments, environment, file_actions=file_actions)


async def _read_all(fd: int) -> str:
    """Everything up to the end of a short pipe."""
    os.set_blocking(fd, False)
    said = b""
    while True:
        await _readable(fd)
        chunk = os.read(fd, 4096)
        if not chunk:
            return said.decode(errors="replace")
        said += chunk


async def _reap(pid: int) -> None:
    """The process that was spawned ends as soon as the real launcher has been forked."""
    pidfd = pidfd_open(pid)
    try:
        await _readable(pidfd)
    finally:
        os.close(pidfd)
    os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - its pidfd is readable: it has ended


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, settle, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)
