"""Mounts of a RUN step: what they show is put in place for the step and taken away after it.

Nothing here trusts a tree: a bind's source is looked up inside its tree, links included. Secrets
lie below the exec root, which is in memory (``/run`` is), and only while the step runs. With an
``--exec-root`` on a disk they are on it meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ketch.engine.builder.cache.mount_transfer import is_file, key_of
from ketch.engine.builder.cache.mounts import LOCKED, PRIVATE, Owner
from ketch.engine.builder.steps.agent import ForwardedAgent
from ketch.engine.containers.record import MountPoint
from ketch.engine.containers.spec import MountSpec
from ketch.errors import InvalidParameter, NotFound
from ketch.mounts import Rootfs

if TYPE_CHECKING:
    from ketch.build.executor import RunStep, StepMount, Tree
    from ketch.build.request.offers import Offers
    from ketch.engine.builder.cache.mount_transfer import MountTransfer
    from ketch.engine.builder.cache.mounts import MountKey
    from ketch.engine.builder.room import BuildRoom
    from ketch.engine.builder.steps.files import StepFiles

_TASKS = "ketch.build.tasks.stubs"
_WAYS = (LOCKED, PRIVATE, "shared")  # of sharing: of several, the first counts
SECRETS = "build-secrets"  # below the exec root


@dataclass(slots=True)
class Made:
    """Mounts in place. ``stubs`` is for ``ketch.build.tasks.stubs.clean``, empty without mounts;
    ``outputs`` are the snapshots of mounts that are outcomes of the step, by their targets."""

    points: list[MountPoint] = field(default_factory=list)
    specs: list[MountSpec] = field(default_factory=list)
    roots: list[Rootfs] = field(default_factory=list)  # of points of type image, in order
    env: list[str] = field(default_factory=list)
    stubs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def made(
    room: BuildRoom, files: StepFiles, transfer: MountTransfer, step: RunStep
) -> AsyncIterator[Made]:
    """The mounts of one step."""
    found = Made()
    if not step.mounts:
        yield found
        return
    async with AsyncExitStack() as stack:
        place = _Place(room, files, transfer, found, stack)
        place.renewed = room.renewed if step.renew else None
        await place.lease([mount for mount in step.mounts if mount.type == "cache"])
        for mount in step.mounts:
            await place.put(mount)
        targets = [mount.target for mount in step.mounts if mount.target]
        view = room.parts.snapshots.view(step.layers or (room.floor,))
        work = room.parts.launcher.work
        found.stubs = await work(f"{_TASKS}:missing", {"targets": targets}, [], view)
        yield found


class _Place:
    """Puts the mounts of one step in place."""

    def __init__(
        self,
        room: BuildRoom,
        files: StepFiles,
        transfer: MountTransfer,
        found: Made,
        stack: AsyncExitStack,
    ) -> None:
        self._room = room
        self._files = files
        self._transfer = transfer
        self._found = found
        self._stack = stack
        self._secrets = ""
        self._leased: dict[MountKey, str] = {}  # paths of the caches
        self.renewed: set[str] | None = None  # see ``CacheMounts.lease``

    async def put(self, mount: StepMount) -> None:
        """One mount."""
        if mount.type == "tmpfs":
            self._tmpfs(mount)
        elif mount.type == "cache":
            self._bind_path(self._leased[key_of(mount)], mount.target, writable=mount.writable)
        elif mount.type == "secret":
            await self._secret(mount)
        elif mount.type == "ssh":
            await self._agent(mount)
        else:
            await self._bind(mount)

    def _tmpfs(self, mount: StepMount) -> None:
        self._found.points.append(
            MountPoint(type="tmpfs", source="", target=mount.target, writable=mount.writable)
        )
        self._found.specs.append(
            MountSpec(
                type="tmpfs",
                target=mount.target,
                tmpfs_size=mount.size,
                tmpfs_options=("exec",),
                read_only=not mount.writable,
            )
        )

    async def lease(self, caches: list[StepMount]) -> None:
        """The directories of a step's caches: each once, however often it is mounted, and in one
        order for all steps, lest two steps wait for what the other has."""
        for mount in sorted(caches, key=lambda mount: (key_of(mount), _WAYS.index(mount.sharing))):
            if key_of(mount) not in self._leased:
                self._leased[key_of(mount)] = await self._cache(mount)

    async def _cache(self, mount: StepMount) -> str:
        async def fill(path: str) -> None:
            assert mount.tree is not None
            await self._files.copy_tree(mount.tree, mount.source, path)

        owner, file = Owner(mount.mode, mount.uid, mount.gid), ""
        if mount.tree is not None:  # as what it begins with, which may be a file
            mode, *ids = await self._files.facts(mount.tree, mount.source)
            owner = Owner(stat.S_IMODE(mode), *ids)
            file = "" if stat.S_ISDIR(mode) else os.path.basename(mount.source)
        filling = self._transfer.filling(mount, fill if mount.tree is not None else None, file)
        path = await self._stack.enter_async_context(
            self._room.caches.lease(key_of(mount), mount.sharing, owner, filling, self.renewed)
        )
        if file and not is_file(path, file):
            raise InvalidParameter(
                f"the cache mount {mount.id} is to be the file {file}, but holds none: delete it"
                " with docker builder prune --filter type=exec.cachemount"
            )
        return f"{path}/{file}" if file else path

    async def _secret(self, mount: StepMount) -> None:
        value = await self._room.offers.secret(mount.id)
        if value is None:
            raise NotFound(f"secret {mount.id}: not found")
        if mount.env:
            self._found.env.append(_variable(mount.env, mount.id, value))
        if mount.target:
            path = f"{self._folder()}/{len(self._found.points)}"
            _write(path, value, mount)
            self._bind_path(path, mount.target, writable=False)

    def _folder(self) -> str:
        """A directory of the step's own, which goes with it."""
        if not self._secrets:
            root = f"{self._room.parts.config.exec_root}/{SECRETS}"
            os.makedirs(root, 0o700, exist_ok=True)
            self._secrets = f"{root}/{secrets.token_hex(4)}"
            os.mkdir(self._secrets, 0o700)
            self._stack.callback(shutil.rmtree, self._secrets, ignore_errors=True)
        return self._secrets

    async def _agent(self, mount: StepMount) -> None:
        path = f"{self._folder()}/{len(self._found.points)}"
        agent = ForwardedAgent(self._room.offers, mount.id)
        await self._stack.enter_async_context(agent.listening(path))
        os.chown(path, mount.uid, mount.gid)
        os.chmod(path, mount.mode)
        self._bind_path(path, mount.target, writable=True)
        if not mount.number:
            self._found.env.append(f"SSH_AUTH_SOCK={mount.target}")

    async def _bind(self, mount: StepMount) -> None:
        """The launcher mounts the tree and looks the source up inside it."""
        assert mount.tree is not None
        rootfs = await self._rootfs(mount, mount.tree)
        self._found.points.append(
            MountPoint(
                type="image",
                source="build",
                target=mount.target,
                writable=mount.writable,
                subpath=mount.source.strip("/"),
            )
        )
        self._found.roots.append(rootfs)

    async def _rootfs(self, mount: StepMount, tree: Tree) -> Rootfs:
        """A tree as a mount; what is written to it is thrown away after the step, unless it is an
        outcome."""
        snapshots = self._room.parts.snapshots
        view = await self._room.view(tree, [mount.source])
        if not mount.writable:
            return view
        key = f"build-{secrets.token_hex(16)}"
        snapshots.prepare(key, (self._room.floor,), apart=True)
        self._stack.push_async_callback(asyncio.to_thread, snapshots.remove, key)
        if mount.output:
            self._found.outputs[mount.target] = key
        scratch = snapshots.rootfs(key)
        return Rootfs(view.lowers, scratch.upper, scratch.work, volatile=True)

    def _bind_path(self, source: str, target: str, *, writable: bool) -> None:
        self._found.points.append(
            MountPoint(type="bind", source=source, target=target, writable=writable)
        )


async def offered(offers: Offers, mount: StepMount) -> bool:
    """Whether the client has what a mount is to lend; raises ``NotFound`` when it must."""
    if mount.type not in ("secret", "ssh"):
        return True
    if mount.type == "ssh":
        there = await offers.has_agent(mount.id)
    else:
        there = await offers.secret(mount.id) is not None
    if mount.required and not there:
        raise NotFound(f"{mount.type} {mount.id}: not found")
    return there


async def secret_variable(offers: Offers, id: str, name: str, *, optional: bool) -> list[str]:
    """A secret as a variable, none when it is not there and may be missing; raises ``NotFound``."""
    value = await offers.secret(id)
    if value is not None:
        return [_variable(name, id, value)]
    if optional:
        return []
    raise NotFound(f"secret {id}: not found")


def _variable(name: str, id: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise InvalidParameter(f"secret {id} is not text: it cannot be a variable") from None
    if "\0" in text:
        raise InvalidParameter(f"secret {id} holds a NUL byte: it cannot be a variable")
    return f"{name}={text}"


def _write(path: str, value: bytes, mount: StepMount) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(value)
        os.fchown(fd, mount.uid, mount.gid)
        os.fchmod(fd, mount.mode)
