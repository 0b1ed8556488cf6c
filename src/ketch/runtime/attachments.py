"""All attached clients of one process, and what they may do.

A client that has ended its side of the connection (a half-close) goes on receiving. When the
client with stdin does so and the process was started with ``stdin_once``, the process's stdin is
closed, except on a terminal: that stays usable for the next client, as with Docker.
"""

from binascii import a2b_base64

from ketch.linux.eventpoll import HANGUP, READ, WRITE
from ketch.runtime.attached import Client, Gone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ketch.linux.eventpoll import Loop
    from ketch.runtime.output import Output
    from ketch.runtime.stdin import Stdin


class Attachments:
    """See the module's docstring. ``on_detach`` is called when somebody types the detach keys."""

    def __init__(self, loop: "Loop", terminal: bool, on_detach: "Callable[[], object]") -> None:
        self._loop = loop
        self._terminal = terminal
        self._on_detach = on_detach
        self._clients: dict[int, Client] = {}
        self.close_stdin_with_client = False
        self.on_deserted: Callable[[], object] | None = None  # the last client is gone
        self.output: Output | None = None
        self.stdin: Stdin | None = None

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def idle(self) -> bool:
        """Whether every client has got everything so far."""
        return all(client.idle for client in self._clients.values())

    def add_first(self, fds: "list[int]", attach: "list[dict[str, Any]]") -> None:
        """The clients that came with the start."""
        clients = [self.add(fd, each) for fd, each in zip(fds, attach, strict=True)]
        if len(clients) == 1:
            clients[0].foreground = True

    def add(self, fd: int, attach: "dict[str, Any]") -> Client:
        """Attach the connection ``fd``, which is the client's from now on."""
        client = Client(fd, attach)
        if not self._terminal:
            client.detach.disable()
        self._clients[fd] = client
        assert self.output is not None
        self.output.add_client(client)
        self.refresh(client)
        if attach.get("input"):
            self._typed(client, a2b_base64(attach["input"]))
        return client

    def refresh(self, client: Client) -> None:
        """Watch the client for what it is good for now."""
        if self._clients.get(client.fd) is not client:
            return
        assert self.stdin is not None
        events = READ if client.stdin and not self.stdin.full else 0
        events |= READ if client.silent and self.on_deserted is not None else 0
        events |= WRITE if client.blocked else 0
        self._loop.watch(client.fd, events, lambda happened: self._ready(client, happened))

    def refresh_all(self) -> None:
        """The process's stdin takes bytes again (or never more)."""
        for client in tuple(self._clients.values()):
            self.refresh(client)

    def gone(self, client: Client) -> None:
        """Let a client go."""
        if self._clients.pop(client.fd, None) is None:
            return
        self._loop.forget(client.fd)
        client.close()
        if self.output is not None:
            self.output.remove_client(client)
        self._input_ended(client)
        if not self._clients and self.on_deserted is not None:
            self.on_deserted()

    def close_idle(self) -> None:
        """The process is over: let everybody go who has got everything."""
        for client in tuple(self._clients.values()):
            if client.idle:
                self.gone(client)

    def _ready(self, client: Client, events: int) -> None:
        if events & WRITE and self.output is not None:
            self.output.writable(client)
        if events & READ and client.stdin:
            self._read(client)
        elif events & READ and client.silent:
            self._listen_for_end(client)
        if events & HANGUP:
            self._hang_up(client)

    def _read(self, client: Client) -> bool:
        """Take what the client sent, once; whether there was anything (or its end)."""
        try:
            data = client.receive()
        except Gone:
            self.gone(client)
            return False
        if data:
            self._typed(client, data)
        elif data is not None:
            self._input_ended(client)
            self.refresh(client)
        return data is not None

    def _listen_for_end(self, client: Client) -> None:
        """Whoever is to take its process along keeps its side open as long as it lives.

        So that this works over TCP too, where a closed connection looks like a half-closed one.
        """
        try:
            if client.receive() == b"":
                self.gone(client)
        except Gone:
            self.gone(client)

    def _hang_up(self, client: Client) -> None:
        """Both directions are closed; what the client sent before still counts."""
        while client.stdin and self._clients.get(client.fd) is client and self._read(client):
            pass
        self.gone(client)

    def _typed(self, client: Client, data: bytes) -> None:
        data, detach = client.detach.feed(data)
        assert self.stdin is not None
        if data:
            self.stdin.write(data)
        if detach:
            client.stdin = False
            self.on_deserted = None  # it left the process alone on purpose
            self.gone(client)
            self._on_detach()
        elif self.stdin.full:
            self.refresh_all()

    def _input_ended(self, client: Client) -> None:
        if not client.stdin:
            return
        client.stdin = False
        if self.close_stdin_with_client and not self._terminal and self.stdin is not None:
            self.stdin.close()
