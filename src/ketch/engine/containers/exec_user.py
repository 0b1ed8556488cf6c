"""Whether a container knows the user that an exec asks for, before the exec is on record.

Docker refuses an unknown name when the exec is created, not when it starts: clients get an error
instead of a stream that says so.
"""

from __future__ import annotations

import asyncio
import os

from ketch.engine.containers.record import ContainerRecord
from ketch.errors import InvalidParameter, StartFailed
from ketch.linux.process import is_alive
from ketch.runtime import users


async def check(container: ContainerRecord, user: str) -> None:
    """Raise ``InvalidParameter`` for a name that is not in the container's own files.

    Numbers need no entry. The files are read in a thread, since they may be on a slow mount.
    """
    if all(part.isdecimal() for part in user.split(":", 1) if part):
        return
    state = container.state
    try:
        root = os.open(f"/proc/{state.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return  # it has ended: the start says so
    try:
        if is_alive(state.pid, state.pid_start_time):
            await asyncio.to_thread(users.resolve, root, user)
    except StartFailed as error:
        raise InvalidParameter(str(error)) from None
    finally:
        os.close(root)
