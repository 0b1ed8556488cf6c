"""The warm pool: sandboxes on the default bridge, made before anybody asks.

Making one costs some 15 ms of CPU, so it is never done between a start and its answer or an exit
and its report: every sign of activity puts the filling off a little, but not for ever.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import msgspec

from ketch.engine.model import ContainerSpec
from ketch.errors import KetchError
from ketch.runtime import defaults

if TYPE_CHECKING:
    from ketch.engine.networks import Networks, WarmLease
    from ketch.engine.tasks import Background
    from ketch.runtime.remote import Launcher

_QUIET = 0.02  # seconds without activity before filling
_LONGEST_DELAY = 0.2  # seconds after which it is filled all the same


class Member(msgspec.Struct, frozen=True):
    """A sandbox that is ready, and the address that its link has."""

    id: str
    lease: WarmLease


class Pool:
    """See the module's docstring; ``size`` 0 switches it off."""

    def __init__(
        self, launcher: Launcher, networks: Networks, background: Background, size: int, parent: str
    ) -> None:
        self._launcher = launcher
        self._networks = networks
        self._background = background
        self._size = size
        self._parent = parent
        self._ready: list[Member] = []
        self._making = 0
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._open = False
