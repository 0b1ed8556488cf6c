"""A client that starts the daemon when nobody answers at the default socket.

People expect a tool that just works: ``ketch`` run by root with no daemon running starts one,
detached, and waits until it answers; where it is installed as a service, systemd starts it. Only
for the default address: who names a host means it.
"""

import os
import sys
import time

from ketch.client.address import DEFAULT, Address
from ketch.client.api import Client
from ketch.client.connection import EngineUnreachable, LocalFault
from ketch.errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATIENCE = 60.0  # seconds until a daemon that does not come up is given up; most die at once
LOG = "/run/ketch/ketchd.log"
UNITS = ("/etc/systemd/system/ketch.socket", "/lib/systemd/system/ketch.socket")


class AutoClient(Client):
    """A ``Client`` whose first call may start the daemon."""

    def __init__(self, address: Address, *, may_start: bool) -> None:
        super().__init__(address)
        self._may_start = may_start and address.text == DEFAULT
        self.says_what_it_does = False

    def call(self, *arguments: "Any", **named: "Any") -> "Any":
        """As ``Client.call``; starts the daemon when there is none."""
        return self._retried(super().call, arguments, named)

    def stream(self, *arguments: "Any", **named: "Any") -> "Any":
        """As ``Client.stream``; starts the daemon when there is none."""
        return self._retried(super().stream, arguments, named)

    def hijack(self, *arguments: "Any", **named: "Any") -> "Any":
        """As ``Client.hijack``; starts the daemon when there is none."""
        return self._retried(super().hijack, arguments, named)

    def _retried(self, method: "Any", arguments: "Any", named: "Any") -> "Any":
        if self.says_what_it_does:
            said = (*arguments, *named.values())
            words = " ".join(str(word) for word in said if not callable(word))
            sys.stderr.write(f"ketch: {self.address.text}: {words}\n")
        try:
            return method(*arguments, **named)
        except EngineUnreachable as error:
            if not self._may_start or error.reason.errno not in (2, 111):
                raise
        self._may_start = False
        start_daemon(self.address)
        return method(*arguments, **named)


def start_daemon(address: Address) -> None:
    """Start ``ketchd`` and wait until its socket answers.

    Raises ``LocalFault`` when we are not root, or with the end of the daemon's log when it does
    not come up.
    """
    if os.geteuid() != 0:
        raise LocalFault(
            f"no ketch daemon answers at {address.text} and only root can start one:"
            " run 'sudo systemctl start ketch' or 'sudo ketchd', or use sudo"
        )
    if _is_a_service():
        _start_service()
        return  # systemd holds the socket: who connects waits until the daemon is there
    os.makedirs(os.path.dirname(LOG), mode=0o711, exist_ok=True)
    pid = _spawn()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if _answers(address):
            return
        if os.waitpid(pid, os.WNOHANG)[0] == pid and not _answers(address):
            break
        time.sleep(0.02)
    raise LocalFault(f"the ketch daemon did not come up:\n{_log_tail()}")


def _is_a_service() -> bool:
    """Whether systemd keeps the daemon: one of our own would be in the way of its."""
    return os.path.isdir("/run/systemd/system") and any(map(os.path.exists, UNITS))


def _start_service() -> None:
    words = ["systemctl", "start", "ketch.socket"]
    try:
        pid = os.posix_spawnp(words[0], words, os.environ)
    except FileNotFoundError:
        raise LocalFault("cannot start the ketch service: systemctl is missing") from None
    if os.waitpid(pid, 0)[1]:
        raise LocalFault("the ketch service could not be started: see 'systemctl status ketch'")


def _spawn() -> int:
    """ketchd in a session of its own, its output in the log file; returns its pid."""
    program = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "ketchd")
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        return os.posix_spawn(
            program,
            [program],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsid=True,
        )
    except FileNotFoundError:
        raise LocalFault(f"cannot start the ketch daemon: {program} is missing") from None
    finally:
        os.close(log)
        os.close(null)


def _answers(address: Address) -> bool:
    try:
        Client(address).call("GET", "/_ping")
    except (EngineUnreachable, Unavailable):
        return False
    return True


def _log_tail() -> str:
    try:
        with open(LOG, errors="replace") as log:
            return "".join(log.readlines()[-10:])
    except OSError:
        return "(no log)"
