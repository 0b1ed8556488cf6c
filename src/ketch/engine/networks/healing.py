"""Bridges and rules that somebody else took away are made again while the daemon runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ketch.errors import KetchError, os_reason
from ketch.network import bridge

if TYPE_CHECKING:
    from ketch.engine.networks.store import NetworkStore
    from ketch.engine.networks.values import NetworkRecord
    from ketch.network.firewall import Firewall

_EVERY = 4.0  # seconds; what is gone is back within five
_log = logging.getLogger("ketch.engine.networks")


class Healer:
    """``ends`` gives the host ends of the links on a network's bridge."""

    def __init__(
        self, store: NetworkStore, firewall: Firewall, ends: Callable[[NetworkRecord], list[str]]
    ) -> None:
        self._store = store
        self._firewall = firewall
        self._ends = ends
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """From now on."""
        self._task = asyncio.create_task(self._heal())

    def close(self) -> None:
        """No more."""
        if self._task is not None:
            self._task.cancel()

    async def _heal(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            try:
                self._heal_bridges()
                if await asyncio.to_thread(self._firewall.is_intact):
                    continue
                if not self._firewall.is_intact():  # looked at while nobody publishes
                    _log.warning("the firewall table was changed by somebody else: made again")
                    self._firewall.heal()
            except KetchError as error:
                _log.error("%s", error)
            except OSError as error:
                _log.error("cannot look after the networks: %s", os_reason(error))

    def _heal_bridges(self) -> None:
        for record in self._store.bridged():
            if not bridge.exists(record.bridge):
                _log.warning("the bridge %s was removed by somebody: made again", record.bridge)
                bridge.remake(
                    record.bridge, *self._store.bridge_address(record), self._ends(record)
                )
