"""Containers that a client opens in its build, by the names that it gives them."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

import msgspec

from ketch.build.executor import RunStep, StepMount, Tree
from ketch.build.request.options import BuildLimits
from ketch.engine.builder.steps.container import Program
from ketch.errors import Conflict, InvalidParameter, NotFound, Unsupported
from ketch.llb import exec_messages as pb
from ketch.llb.execs import NETWORKS, SHARINGS, TYPES, known, proxies, target
from ketch.oci.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ketch.buildkit.gateway.states import State, States
    from ketch.buildkit.messages.container import InitMessage, NewContainerRequest
    from ketch.engine.builder.steps.container import BuildContainer
    from ketch.engine.builder.steps.process import BuildProcess
    from ketch.llb.exec_messages import HostIP, MountMessage

_PLAIN = RunStep(
    layers=(),
    argv=("true",),
    env=(),
    user="",
    working_dir="/",
    network="",
    limits=BuildLimits(),
)


class JobContainers:
    """Those of one job; they go with it."""

    def __init__(self, states: States) -> None:
        self._states = states
        self._containers: dict[str, BuildContainer] = {}
        self._opening: set[str] = set()
        self._closed = False

    async def new(self, request: NewContainerRequest) -> None:
        """Raises ``Conflict`` for a name that is taken, and what opening raises."""
        name = request.ContainerID
        if name in self._containers or name in self._opening:
            raise Conflict(f"Container {name} already exists")
        self._opening.add(name)
        try:
            container = await self._open(request)
        finally:
            self._opening.discard(name)
        if self._closed:
            await container.release()
            raise Conflict("the build is over")
        self._containers[name] = container

    async def _open(self, request: NewContainerRequest) -> BuildContainer:
        if request.constraints is not None and request.constraints.filter:
            raise Unsupported("constraints of a container are not supported: there is one worker")
        root = [mount for mount in request.Mounts if target(mount.dest) == "/"]
        if len(root) != 1:
            raise InvalidParameter(f"a container needs one mount at /, not {len(root)}")
        if root[0].mountType != pb.BIND or root[0].selector.strip("/"):
            raise InvalidParameter(f"invalid mount type {_word(root[0])} for /")
        state = self._state(root[0])
        if state is None:
            raise InvalidParameter("the mount at / names no result of the build")
        others = [mount for mount in request.Mounts if mount is not root[0]]
        step = msgspec.structs.replace(
            state.step or _PLAIN,  # its limits and its script
            layers=await state.layers(),
            network=known(NETWORKS, request.Network, "network"),
            extra_hosts=hosts(request.extraHosts),
            hostname=request.hostname,
            insecure=False,
            mounts=tuple([await self._mount(mount, state) for mount in others]),
        )
        if platform := _platform(request):
            step = msgspec.structs.replace(step, platform=platform)
        return await state.containers.open(step, read_only=root[0].readonly)

    def _state(self, mount: MountMessage) -> State | None:
        if not mount.resultID:
            return None
        try:
            return self._states.get(mount.resultID)
        except NotFound as error:
            raise NotFound(f"failed to find ref for the mount at {mount.dest!r}: {error}") from None

    async def _mount(self, mount: MountMessage, root: State) -> StepMount:
        state = self._state(mount)
        made = step_mount(mount)
        if state is not None and state.mount is not None and mount.mountType == pb.CACHE:
            return msgspec.structs.replace(state.mount, target=made.target, writable=made.writable)
        if mount.mountType != pb.BIND:
            return made
        tree = await state.tree() if state is not None else Tree("layers")
        if state is not None and tree.kind != "layers" and state.containers != root.containers:
            raise Unsupported(f"the files at {mount.dest} are of another build than those at /")
        return msgspec.structs.replace(made, tree=tree)

    async def release(self, name: str) -> None:
        """Raises ``NotFound``."""
        if name not in self._containers:
            raise NotFound(f"the build has no container {name!r:.100}")
        await self._containers.pop(name).release()

    async def start(self, init: InitMessage) -> BuildProcess:
        """Run a program in one; raises ``NotFound`` and what starting raises."""
        if init.ContainerID not in self._containers:
            raise NotFound(f"the build has no container {init.ContainerID!r:.100}")
        return await self._containers[init.ContainerID].start(_program(init))

    async def close(self) -> None:
        """Release all, and those that are being opened."""
        self._closed = True
        while self._containers:
            await self._containers.popitem()[1].release()


def step_mount(mount: MountMessage) -> StepMount:
    """A mount without what it shows."""
    kind = known(TYPES, mount.mountType, f"type of the mount at {mount.dest!r:.100}")
    made = StepMount(
        type=kind,
        target=target(mount.dest),
        source=posixpath.normpath("/" + mount.selector.lstrip("/")),
        writable=not mount.readonly,
    )
    if mount.mountType == pb.TMPFS and mount.tmpfsOpt is not None:
        return msgspec.structs.replace(made, size=mount.tmpfsOpt.size)
    if mount.mountType == pb.CACHE:
        cache = mount.cacheOpt or pb.CacheOpt()
        if not cache.ID:
            raise InvalidParameter(f"the cache at {mount.dest} has no ID")
        sharing = known(SHARINGS, cache.sharing, "sharing of a cache")
        return msgspec.structs.replace(made, id=cache.ID, sharing=sharing, mode=0o755)
    if mount.mountType in (pb.SECRET, pb.SSH):
        return _lent(mount, made)
    return made


def _lent(mount: MountMessage, made: StepMount) -> StepMount:
    """A secret or an agent: the variable SSH_AUTH_SOCK is the client's own to set."""
    secret = mount.mountType == pb.SECRET
    asked = mount.secretOpt if secret else mount.sshOpt
    if asked is None or not asked.ID:
        raise InvalidParameter(f"the {made.type} at {mount.dest} has no ID")
    return msgspec.structs.replace(
        made,
        id=asked.ID,
        uid=asked.uid,
        gid=asked.gid,
        mode=asked.mode & 0o7777,
        required=not asked.optional,
        number=1,
    )


def _program(init: InitMessage) -> Program:
    meta = init.meta or pb.Meta()
    if set(init.Fds) - {0, 1, 2}:
        raise Unsupported(f"file descriptors {sorted(init.Fds)}: a program has 0, 1 and 2")
    for name in ("extraHosts", "hostname", "ulimit", "cgroupParent", "validExitCodes"):
        if getattr(meta, name):
            raise Unsupported(f"{name} of a program in a container is not supported")
    if init.Security not in (pb.CONFINED, pb.INSECURE):
        raise InvalidParameter(f"unknown security mode {init.Security}")
    return Program(
        argv=tuple(meta.args),
        env=(*meta.env, *proxies(meta)),
        user=meta.user,
        working_dir=posixpath.normpath("/" + meta.cwd.lstrip("/")),
        tty=init.Tty,
        stdin=0 in init.Fds,
        insecure=init.Security == pb.INSECURE,
        secrets=tuple((one.ID, one.name, one.optional) for one in init.secretenv),
    )


def hosts(extra: Sequence[HostIP]) -> tuple[str, ...]:
    """Lines of ``/etc/hosts`` in the engine's form."""
    return tuple(f"{one.Host}:{one.IP}" for one in extra)


def _platform(request: NewContainerRequest) -> str:
    asked = request.platform
    if asked is None or not asked.OS:
        return ""
    return str(Platform(os=asked.OS, architecture=asked.Architecture, variant=asked.Variant))


def _word(mount: MountMessage) -> str:
    known = 0 <= mount.mountType < len(pb.MOUNT_TYPES)
    return pb.MOUNT_TYPES[mount.mountType] if known else str(mount.mountType)
