"""The exit code of a container whose daemon went away while we waited."""

import sys
import time

from ketch.cli import exits, routes
from ketch.errors import KetchError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.client.api import Client

PATIENCE = 20.0  # seconds for a daemon to come back
PAUSE = 0.1


def exit_code(client: "Client", identity: str) -> int:
    """Ask again until a daemon answers; 125 with a word of explanation when none does."""
    deadline = time.monotonic() + PATIENCE
    reason: Exception | None = None
    while time.monotonic() < deadline:
        try:
            state = client.call("GET", routes.container(identity, "/json"))["State"]
        except NotFound:
            sys.stderr.write(
                "ketch: the daemon was restarted meanwhile and the container is removed:"
                " its exit status is not known\n"
            )
            return exits.USAGE
        except (KetchError, OSError) as error:
            reason = error
        else:
            if not state["Running"]:
                return int(state["ExitCode"]) & 0xFF
        time.sleep(PAUSE)
    sys.stderr.write(f"ketch: error waiting for container: {reason or 'it does not end'}\n")
    return exits.USAGE
