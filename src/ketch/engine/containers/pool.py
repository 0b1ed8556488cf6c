"""The warm pool: sandboxes on the default bridge, made before anybody asks.

Making one costs some 15 ms of CPU, so it is never done between a start and its answer or an exit
and its report: every sign of activity puts the filling off a little, but not for ever.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING

import msgspec

from ketch.engine.containers import cgroup
from ketch.engine.containers.spec import ContainerSpec
from ketch.errors import KetchError, Unavailable
from ketch.runtime import defaults

if TYPE_CHECKING:
    from ketch.engine.networks.networks import Networks, WarmLease
    from ketch.engine.tasks import Background
    from ketch.runtime.remote import Launcher, Shim

_QUIET = 0.02  # seconds without activity before filling
_LONGEST_DELAY = 0.2  # seconds after which it is filled all the same
_PAUSE_AFTER_FAILURE = 30.0

_log = logging.getLogger("ketch.engine.pool")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """``size`` members (0 switches the pool off) in cgroups below ``cgroup_parent``."""

    size: int
    cgroup_parent: str


class Member:
    """A sandbox that is ready, and the address that its link has."""

    __slots__ = ("id", "lease")

    def __init__(self, member_id: str, lease: WarmLease) -> None:
        self.id = member_id
        self.lease = lease


class Pool:
    """See the module's docstring."""

    def __init__(
        self, launcher: Launcher, networks: Networks, background: Background, settings: Settings
    ) -> None:
        self._launcher = launcher
        self._networks = networks
        self._background = background
        self._settings = settings
        self._ready: list[Member] = []
        self._filling = False
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._open = False
        launcher.on_lost = self._lost

    async def start(self) -> None:
        """Forget the members of a daemon that is gone, and begin to fill."""
        await self._launcher.drop_warm()
        self._open = True
        self.stir()

    async def close(self) -> None:
        """Give back the members and stop filling."""
        self._open = False
        if self._timer is not None:
            self._timer.cancel()
        members, self._ready = self._ready, []
        if members:
            await self._launcher.drop_warm([member.id for member in members])
        for member in members:
            await self._networks.release_warm(member.lease)

    def _lost(self) -> None:
        """The launcher died, and the members with it; the next request starts a new one."""
        members, self._ready = self._ready, []
        for member in members:
            self._background.spawn(self._forget(member))
        self.stir()

    async def _forget(self, member: Member) -> None:
        """Take back what is left of a member that was killed, or never came to be."""
        await self._networks.release_warm(member.lease)
        await asyncio.to_thread(cgroup.sweep, self._settings.cgroup_parent, member.id)

    def take(self, spec: ContainerSpec) -> Member | None:
        """A member for a container that fits into one; it is the caller's from now on."""
        if not self._ready or not fits(spec, self._settings.cgroup_parent):
            return None
        member = self._ready.pop()
        self.stir()
        return member

    async def discard(self, member: Member) -> None:
        """A member that could not be used after all."""
        await self._launcher.drop_warm([member.id])
        await self._networks.release_warm(member.lease)

    async def used(self, member: Member | None, shim: Shim) -> None:
        """A container runs that a member was taken for. If the member was killed before it became
        that, its cgroup is still there."""
        if member is not None and shim.repeated:
            await asyncio.to_thread(cgroup.sweep, self._settings.cgroup_parent, member.id)

    def stir(self) -> None:
        """Something happens now: fill a little later."""
        if not self._open or self._filling or len(self._ready) >= self._settings.size:
            return
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._deadline = loop.time() + _LONGEST_DELAY
        else:
            self._timer.cancel()
        self._timer = loop.call_at(min(loop.time() + _QUIET, self._deadline), self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._filling = True
        self._background.spawn(self._fill())

    async def _fill(self) -> None:
        try:
            while self._open and len(self._ready) < self._settings.size:
                self._ready.append(await self._made())
        except KetchError as error:
            _log.warning("no warm sandboxes for a while: %s", error)
            await asyncio.sleep(_PAUSE_AFTER_FAILURE)
        finally:
            self._filling = False

    async def _made(self) -> Member:
        try:
            return await self._make()
        except Unavailable:  # the launcher or the member was killed: others are there, or soon
            return await self._make()

    async def _make(self) -> Member:
        lease = await self._networks.reserve_warm()
        member = Member(f"warm-{secrets.token_hex(8)}", lease)
        try:
            await self._launcher.warm(
                {
                    "id": member.id,
                    "cgroup": {"parent": self._settings.cgroup_parent, "name": member.id},
                    "link": lease.link.to_wire(),
                    "namespaces": [{"type": kind} for kind in defaults.NAMESPACES],
                }
            )
        except BaseException:
            await self._forget(member)
            raise
        return member


def fits(spec: ContainerSpec, cgroup_parent: str) -> bool:
    """Whether a container asks for nothing that a sandbox made ahead cannot have."""
    own_namespaces = not (spec.pid_mode or spec.uts_mode or spec.userns_mode) and (
        spec.ipc_mode in ("", "private", "shareable") and spec.cgroupns_mode in ("", "private")
    )
    plain_network = (
        not spec.network_disabled
        and spec.network_mode in ("", "default", "bridge")
        and not any(point.ipv4 or point.ipv6 or point.mac for point in spec.endpoints)
    )
    one_network = len(spec.endpoints) <= 1
    same_parent = spec.cgroup_parent in ("", cgroup_parent)
    ours = not spec.runtime and not spec.privileged
    ours = ours and not spec.resources.device_requests  # they may bring hooks, which want a maker
    return own_namespaces and plain_network and one_network and same_parent and ours
