"""The way out: a process's stdout and stderr (or terminal) to the log and to attached clients.

Every byte that the process wrote goes to the log and to each client that is attached at that
moment. With no log and one client the bytes are spliced from the pipe to the socket and never
enter this process. Whether a slow client holds the process back is said in
``ketch.runtime.attached``.

A strong flow is taken in large portions: what the process writes makes nobody wake up until a
moment has passed (``PACE``), while the pipe is large enough to hold what comes. Woken for each
write, both sides spend more on that than on the bytes.
"""

import os
import time

from ketch.linux import libc, splice
from ketch.linux.eventpoll import READ
from ketch.runtime.attached import PATIENCE, Client, Gone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from ketch.linux.eventpoll import Loop

    class Log(Protocol):
        """Where the output is kept."""

        @property
        def full(self) -> bool:
            """Whether the process must be held back for its sake."""

        @property
        def pending(self) -> bool:
            """Whether something is not where it belongs yet."""

        def write(self, stream: str, data: bytes) -> None:
            """Output of ``stdout`` or ``stderr``, cut wherever it happens to be."""

        def close(self) -> None:
            """The end of all streams; what is pending still goes out."""

        def abandon(self) -> None:
            """Lose what is pending."""

        def when_room(self, call: "Callable[[], object]") -> None:
            """Call when ``full`` may have changed."""

    class Keeper(Protocol):
        """Who holds the clients' sockets."""

        def gone(self, client: Client) -> None:
            """The client left, or is to be cut off."""

        def refresh(self, client: Client) -> None:
            """The client's socket may have become full, or free again."""


_SMALL, _LARGE = 16 * 1024, 256 * 1024
PACE = 0.001  # seconds
_REST = 5.0  # seconds after which buffers are small again
_DRAIN_READS = 256  # more than two full pipes, at the smallest read size
_NAMES = {1: "stdout", 2: "stderr"}


class Source:
    """The reading end of one stream; ``pipe`` is false for a terminal."""

    __slots__ = ("_since", "_taken", "ample", "fd", "paced", "pipe", "size", "stream")

    def __init__(self, fd: int, stream: int, pipe: bool) -> None:
        self.fd = fd
        self.stream = stream
        self.pipe = pipe
        self.size = _SMALL
        self.ample = False  # the pipe holds what comes in a moment
        self.paced = False  # it is looked at when the moment is over, and not before
        self._since, self._taken = 0.0, 0

    def read(self) -> "bytes | None":
        """The next bytes, b"" at the end, None when there are none yet.

        Reads grow with the flow, so that a quiet container costs no memory and a busy one few
        system calls.
        """
        try:
            data = os.read(self.fd, self.size)
        except BlockingIOError:
            return None
        except OSError:
            return b""  # EIO: the terminal's other side is closed
        self.count(len(data))
        return data

    def count(self, size: int) -> None:
        """So much was taken: find out how strong the flow is."""
        now = time.monotonic()
        if now - self._since > PACE:
            self._since, self._taken = now, 0
        self._taken += size
        strong = self._taken >= _SMALL
        if strong and self.pipe and self.size < _LARGE:
            self._grow()
        # From a pipe that was full the next portion is taken at once.
        self.paced = strong and self.ample and size < _LARGE

    def _grow(self) -> None:
        """Read more at a time, and let the pipe hold more."""
        self.size = _LARGE
        libc.keep_heap()
        if not self.ample:
            self.ample = splice.grow_pipe(self.fd)


class Output:
    """See the module's docstring. ``keeper`` is told what becomes of a client."""

    def __init__(self, loop: "Loop", log: "Log | None", keeper: "Keeper") -> None:
        self._loop = loop
        self._log = log
        self._log_closed = False
        if log is not None:
            log.when_room(self._balance)
        self._keeper = keeper
        self._sources: list[Source] = []
        self._clients: list[Client] = []
        self.held = False
        self._watching_stalls = False
        self._resting = False

    @property
    def ended(self) -> bool:
        """Whether all streams are at their end."""
        return not self._sources

    def add_source(self, fd: int, stream: int, pipe: bool) -> None:
        """Begin to read ``fd`` (non-blocking); it is closed at its end."""
        source = Source(fd, stream, pipe)
        self._sources.append(source)
        self._watch(source)

    def add_client(self, client: Client) -> None:
        """Send the client what comes from now on."""
        self._clients.append(client)

    def remove_client(self, client: Client) -> None:
        """The client has left; the process goes on."""
        if client in self._clients:
            self._clients.remove(client)
            self._balance()

    def writable(self, client: Client) -> None:
        """The client's socket takes more."""
        client.blocked = False
        self._guarded(client, self._resume, client)
        self._balance()

    def _resume(self, client: Client) -> None:
        client.flush()
        if not client.owed or client.pending:
            return
        for source in self._sources:
            if source.fd == client.owed_by:
                client.splice(source.fd, source.stream)
                return
        raise Gone

    def _watch(self, source: Source) -> None:
        events = 0 if self.held or source.paced else READ
        self._loop.watch(source.fd, events, lambda _: self._ready(source))

    def _ready(self, source: Source) -> None:
        if self.held:
            # The end of a stream is reported even when it is not asked for: look no more until
            # the clients take more.
            self._loop.forget(source.fd)
            return
        self._pump(source)
        self._pace(source)

    def _pace(self, source: Source) -> None:
        """Look at the stream again when it is time to."""
        if source.paced:
            self._loop.at(time.monotonic() + PACE, self._go_on)
        if source in self._sources:
            self._watch(source)

    def _go_on(self) -> None:
        """The moment is over for all that were paced."""
        for source in tuple(self._sources):
            if source.paced:
                source.paced = False
                if not self.held:
                    self._pump(source)
                self._pace(source)

    def _pump(self, source: Source) -> bool:
        """Take what one stream has, once; whether there was anything (or its end)."""
        client = self._only_client(source)
        got = (client is not None and self._splice(source, client)) or self._copy(source)
        self._balance()
        return got

    def _only_client(self, source: Source) -> "Client | None":
        """The client to splice to, if nobody else needs the bytes."""
        if self._log is not None or not source.pipe or len(self._clients) != 1:
            return None
        client = self._clients[0]
        return client if source.stream in client.streams and client.idle else None

    def _splice(self, source: Source, client: Client) -> bool:
        """Whether anything was there to splice; at a pipe's end there is nothing."""
        if not splice.readable_bytes(source.fd):
            return False
        moved = self._guarded(client, client.splice, source.fd, source.stream)
        source.count(moved or 0)
        return True

    def _copy(self, source: Source) -> bool:
        data = source.read()
        if data is None:
            return False
        if len(data) > _SMALL and not self._resting:
            self._resting = True
            self._loop.at(time.monotonic() + _REST, self._rest)
        if not data:
            self._end(source)
            return True
        if self._log is not None:
            self._log.write(_NAMES[source.stream], data)
        for client in tuple(self._clients):
            if source.stream in client.streams:
                self._guarded(client, client.send, source.stream, data)
        return True

    def _rest(self) -> None:
        """Give back what a strong flow took; one that goes on takes it again."""
        self._resting = False
        for source in self._sources:
            source.size = _SMALL
        libc.trim_heap()

    def _guarded(
        self, client: Client, action: "Callable[..., int | None]", *args: object
    ) -> "int | None":
        """Do something with a client's socket, and tell its keeper what became of it."""
        try:
            result = action(*args)
        except Gone:
            self._keeper.gone(client)
            return None
        self._keeper.refresh(client)
        return result

    def _end(self, source: Source) -> None:
        self._sources.remove(source)
        self._loop.forget(source.fd)
        os.close(source.fd)

    def _balance(self) -> None:
        """Hold the process back while a client or the log is full, and watch which clients are."""
        held = any(client.full for client in self._clients)
        held = held or (self._log is not None and self._log.full)
        if held != self.held:
            self.held = held
            for source in self._sources:
                self._watch(source)
        if held and not self._watching_stalls and not all(c.foreground for c in self._clients):
            self._watching_stalls = True
            self._loop.at(time.monotonic() + PATIENCE / 2, self._cut_stalled)

    def _cut_stalled(self) -> None:
        self._watching_stalls = False
        now = time.monotonic()
        for client in [client for client in self._clients if client.stalled(now)]:
            self._keeper.gone(client)
        self._balance()

    def drain(self) -> None:
        """Take everything that the streams hold now, unless a client holds them back.

        Bounded: somebody may go on writing faster than we read.
        """
        for _ in range(_DRAIN_READS):
            if self.held or not any(self._pump(source) for source in tuple(self._sources)):
                return

    def abandon(self) -> None:
        """Stop reading: the process is gone, and others keep its streams open."""
        for source in tuple(self._sources):
            self._end(source)

    def close_log(self) -> None:
        """Write what never got its newline."""
        if self._log is not None and not self._log_closed:
            self._log_closed = True
            self._log.close()

    @property
    def log_pending(self) -> bool:
        """Whether the log's driver has not taken everything yet."""
        return self._log is not None and self._log.pending

    def abandon_log(self) -> None:
        """Wait no longer for the log's driver."""
        if self._log is not None:
            self._log.abandon()
