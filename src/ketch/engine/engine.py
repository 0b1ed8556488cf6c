"""The facade: one ``Engine`` with a property per kind of object.

Everything above (the API, library users) goes through here; nothing here knows HTTP or Docker's
JSON. Every method may raise the categories of ``ketch.errors``; a *ref* is a name, a full ID, or
an unambiguous prefix of an ID.

Life cycle: construct with ``Parts`` (the daemon wires them), ``await start()`` (recovers what ran
before, fills the pool), use, ``await close()`` (containers live on).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ketch.engine.builder import Builder
    from ketch.engine.containers import Containers
    from ketch.engine.events import Events
    from ketch.engine.execs import Execs
    from ketch.engine.images import Images
    from ketch.engine.networks import Networks
    from ketch.engine.system import System
    from ketch.engine.volumes import Volumes


class Engine:
    """See the module's docstring."""

    containers: Containers
    execs: Execs
    images: Images
    volumes: Volumes
    networks: Networks
    events: Events
    system: System
    builder: Builder

    async def start(self) -> None:
        """Recover the state of before, adopt what still runs, sweep what no record names."""

    async def close(self) -> None:
        """Let go of everything without stopping a container."""
