"""Whether the server of a container's log answers, asked before the container is started.

The shim finds out too, but only when the program runs already. Drivers that write files cost
nothing here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ketch.engine.containers.log_wire import log_wire
from ketch.errors import StartFailed, errno_text
from ketch.logs.drivers import open_log

if TYPE_CHECKING:
    from ketch.engine.containers.record import ContainerRecord

_REMOTE = ("syslog", "journald")


async def check(record: ContainerRecord) -> None:
    """Raise ``StartFailed`` when the log cannot be kept where the container wants it."""
    if record.spec.log.driver not in _REMOTE:
        return
    wire = {**log_wire(record), "path": ""}  # the copy is the shim's to write
    try:
        await asyncio.to_thread(open_log, wire)
    except OSError as error:
        where = record.spec.log.options.get("syslog-address", "")
        raise StartFailed(
            f"failed to create task for container: failed to initialize logging driver: "
            f"{record.spec.log.driver} {where}: {errno_text(error)}",
            128,
        ) from None
