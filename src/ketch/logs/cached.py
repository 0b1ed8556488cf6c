"""A local copy of a log that goes elsewhere, so that it can be read back (Docker's dual logging).

https://docs.docker.com/engine/logging/dual-logging/. The copy is a ``local`` log. It is written
first: a server that keeps the driver waiting does not hide the output from ``docker logs``. On the
shim's import path.
"""

from ketch.logs.localfile import LocalLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.logs.journald import JournaldLog
    from ketch.logs.syslog import SyslogLog


class CachedLog:
    """The driver ``log`` and its copy; both see the same instants."""

    def __init__(self, log: "SyslogLog | JournaldLog", copy: LocalLog) -> None:
        self.log = log
        self.copy = copy
        self.clock = copy.clock = log.clock

    def write(self, stream: str, data: bytes) -> None:
        """Output of ``stdout`` or ``stderr``, cut wherever it happens to be."""
        self.copy.write(stream, data)
        self.log.write(stream, data)

    def close(self) -> None:
        """The end of all streams."""
        self.copy.close()
        self.log.close()
