"""Being in front of a container: signals and window size passed on while its output is shown.

``_signal`` is the C module under ``signal``, whose enums cost 3 ms at import.
"""

import _signal as signal  # type: ignore[import-not-found]
import os

from ketch.cli import routes, terminal
from ketch.client.api import Client
from ketch.errors import KetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

# Signals that say something about this process, not to the container (docker run --sig-proxy).
NOT_PROXIED = {signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG, signal.SIGKILL, signal.SIGSTOP}
FIRST_REALTIME = 32
MOST_REQUESTS = 3  # so many SIGINT or SIGTERM end us whatever the container does (docker run)


def _leave() -> None:
    os.write(2, f"\ngot {MOST_REQUESTS} SIGTERM/SIGINTs, forcefully exiting\n".encode())
    os._exit(1)


def proxy_signals(client: "Client", container: str) -> None:
    """From now on send every signal that reaches us to the container's first process."""

    asked_to_end = 0

    def forward(number: int, _frame: "FrameType | None") -> None:
        nonlocal asked_to_end
        if number in (signal.SIGINT, signal.SIGTERM):
            asked_to_end += 1
            if asked_to_end == MOST_REQUESTS:
                _leave()
        try:
            Client(client.address).call(
                "POST", routes.container(container, "/kill"), {"signal": number}
            )
        except KetchError:
            pass  # it has just ended

    for number in range(1, FIRST_REALTIME):
        if number in NOT_PROXIED or number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
            continue
        try:
            signal.signal(number, forward)
        except (OSError, ValueError):
            continue


def follow_size(client: "Client", path: str, *, redraw: bool = False) -> None:
    """Send the terminal's size now and whenever it changes; ``path`` is the resize route.

    ``redraw``: send another one before, since a shell that has said its prompt long ago says it
    again only when the size is a new one (as ``docker attach`` does).
    """

    def send(_number: int = 0, _frame: "FrameType | None" = None, more: int = 0) -> None:
        height, width = terminal.size()
        if not height:
            return
        try:
            Client(client.address).call("POST", path, {"h": height + more, "w": width + more})
        except KetchError:
            pass  # not up yet or just gone

    if redraw:
        send(more=1)
    send()
    signal.signal(signal.SIGWINCH, send)
