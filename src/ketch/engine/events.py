"""Events: what happened, kept in SQLite so that a client that reconnects misses nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ketch.engine.model import Event, Filters


class Events:
    """Publish and stream."""

    def publish(
        self, type: str, action: str, actor: str, attributes: dict[str, str] | None = None
    ) -> None:
        """Record an event and hand it to every stream; never blocks, never raises."""
        raise NotImplementedError

    def stream(
        self, since: int = 0, until: int = 0, filters: Filters | None = None
    ) -> AsyncIterator[Event]:
        """Events after ``since`` (ns since the epoch; 0 = from now on) up to ``until`` (0 = for
        ever). Filters by Docker's keys: type, event, container, image, label, volume, network.

        The stream is registered when this is called, so nothing published after is missed.
        """
        raise NotImplementedError
