"""Opening the log that a container asked for. On the shim's import path."""

from ketch.logs.cached import CachedLog
from ketch.logs.filelog import FileLog
from ketch.logs.journald import JournaldLog
from ketch.logs.jsonfile import JsonFileLog
from ketch.logs.localfile import LocalLog
from ketch.logs.syslog import SyslogLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from ketch.logs.rfc3339 import Clock

    Wire = dict[str, Any]

    class Log(Protocol):
        """Takes output and keeps it somewhere; may wait, and never raises."""

        clock: Clock

        def write(self, stream: str, data: bytes) -> None:
            """Output of ``stdout`` or ``stderr``, cut wherever it happens to be."""

        def close(self) -> None:
            """The end of all streams."""


_REMOTE: "dict[str, type[SyslogLog | JournaldLog]]" = {
    "syslog": SyslogLog,
    "journald": JournaldLog,
}


def open_log(log: "Wire") -> "Log":
    """The driver of the LOG object of the launcher protocol; raises OSError, ``ValueError``.

    With a path, a driver that has no files of its own is copied to one.
    """
    remote = _REMOTE.get(log["driver"])
    if remote is None:
        return open_file(log)
    driver = remote(log["settings"])
    if not log["path"]:
        return driver
    return CachedLog(driver, LocalLog(log["path"], log["max_size"], log["max_file"]))


def file_of(driver: "Log") -> "FileLog | None":
    """The part of a driver that writes a file."""
    if isinstance(driver, CachedLog):
        return driver.copy
    return driver if isinstance(driver, FileLog) else None


def open_file(log: "Wire") -> "FileLog":
    """One of the drivers that write files; raises OSError, ``ValueError``."""
    kind = {"json-file": JsonFileLog, "local": LocalLog}.get(log["driver"])
    if kind is None:
        raise ValueError(f"log driver {log['driver']!r} is not known")
    return kind(log["path"], log["max_size"], log["max_file"], log.get("attrs"))


def is_detached(log: "Wire") -> bool:
    """Whether the driver runs in a process of its own: it may wait, or must never be waited for."""
    return bool(log.get("buffer")) or log["driver"] in _REMOTE
