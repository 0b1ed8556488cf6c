"""``run``: create and start in one go, in the foreground or detached."""

import os

from ketch.runtime import oci_console, oci_lifecycle
from ketch.runtime import oci_state as state
from ketch.runtime.oci_create import Order, create, forward_signals, wait
from ketch.runtime.oci_hooks import run_hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.runtime.oci_flags import Given
    from ketch.runtime.oci_log import Log
    from ketch.runtime.oci_state import Place
    from ketch.runtime.sandbox import Started


def run(place: "Place", order: Order, given: "Given", log: "Log") -> int:
    """The program's exit status, 0 when detached; without ``--keep`` the container is deleted."""
    started = create(place, order, log)
    record = place.load()
    run_hooks(record, "poststart", state.view(place, record), log)
    if "detach" in given.on:
        return 0
    try:
        return _attend(started, order)
    finally:
        if "keep" not in given.on:
            oci_lifecycle.delete(place, True, log)


def _attend(started: "Started", order: Order) -> int:
    forward_signals(started.pidfd)
    if started.master_fd >= 0 and not order.console_socket:
        oci_console.relay(started.master_fd)
    code = wait(started)
    os.close(started.pidfd)
    return code
