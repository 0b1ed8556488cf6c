"""Commands of build graphs: messages to values."""

from __future__ import annotations

import posixpath
from typing import TypeVar

from ketch.errors import InvalidParameter, Unsupported
from ketch.llb import exec_messages as pb
from ketch.llb.messages import ExecOp
from ketch.llb.vertices import EMPTY, NO_OUTPUT, Exec, ExecMount

NETWORKS = {pb.SANDBOX: "", pb.HOST_NETWORK: "host", pb.NO_NETWORK: "none"}
SHARINGS = {pb.SHARED: "shared", pb.PRIVATE: "private", pb.LOCKED: "locked"}
TYPES = {pb.BIND: "bind", pb.SECRET: "secret", pb.SSH: "ssh", pb.CACHE: "cache", pb.TMPFS: "tmpfs"}
_MOST_CODE = 255
T = TypeVar("T")


def command(op: ExecOp) -> Exec:
    """Raises ``InvalidParameter``, and ``Unsupported`` naming a field."""
    meta = op.meta
    if meta is None or not meta.args or not meta.args[0]:
        raise InvalidParameter("invalid exec op with no args")
    words = (*meta.args, *meta.env, meta.user, meta.cwd, meta.hostname)
    if any("\0" in word for word in words):
        raise InvalidParameter("a command's words and variables hold no NUL bytes")
    if not all(0 <= code <= _MOST_CODE for code in meta.validExitCodes):
        raise InvalidParameter("validExitCodes of an exec op are from 0 to 255")
    mounts = [_mount(mount) for mount in op.mounts]
    root = _root(mounts)
    return Exec(
        args=tuple(meta.args),
        env=tuple(meta.env),
        cwd=posixpath.normpath("/" + meta.cwd.lstrip("/")),
        user=meta.user,
        root=root,
        mounts=tuple(mount for mount in mounts if mount is not root),
        proxies=tuple(proxies(meta)),
        secrets=tuple((one.ID, one.name, one.optional) for one in op.secretenv),
        network=known(NETWORKS, op.network, "network of an exec op"),
        insecure=known({pb.CONFINED: False, pb.INSECURE: True}, op.security, "security mode"),
        hostname=meta.hostname,
        hosts=tuple(f"{one.Host}:{one.IP}" for one in meta.extraHosts),
        ulimits=tuple((one.Name, one.Soft, one.Hard) for one in meta.ulimit),
        cgroup_parent=meta.cgroupParent,
        exit_codes=tuple(meta.validExitCodes) or (0,),
    )


def _root(mounts: list[ExecMount]) -> ExecMount:
    found = [mount for mount in mounts if mount.target == "/"]
    if len(found) != 1:
        raise InvalidParameter(f"an exec op has one mount at /, not {len(found)}")
    outputs = [mount.output for mount in mounts if mount.output != NO_OUTPUT]
    if len(set(outputs)) != len(outputs):
        raise InvalidParameter("two mounts of an exec op are the same output")
    if found[0].type != "bind":
        raise InvalidParameter(f"invalid mount type {found[0].type} for /")
    if found[0].source != "/":
        raise Unsupported("a selector of the mount at / is not supported")
    return found[0]


def _mount(mount: pb.MountMessage) -> ExecMount:
    kind = known(TYPES, mount.mountType, f"type of the mount at {mount.dest!r:.100}")
    if mount.resultID:
        raise InvalidParameter(f"the mount at {mount.dest!r:.100} names a result, not an input")
    if mount.input < EMPTY or mount.output < NO_OUTPUT:
        raise InvalidParameter(f"the mount at {mount.dest!r:.100} has a wrong index")
    is_bind = kind == "bind"
    output = NO_OUTPUT if mount.readonly else mount.output
    if not is_bind and output != NO_OUTPUT and (kind != "cache" or output):
        raise InvalidParameter(f"the {kind} at {mount.dest!r:.100} cannot be an output")
    asked = mount.secretOpt if kind == "secret" else mount.sshOpt if kind == "ssh" else None
    cache = mount.cacheOpt if kind == "cache" else None
    id = asked.ID if asked is not None else cache.ID if cache is not None else ""
    if kind in ("secret", "ssh", "cache") and not id:
        raise InvalidParameter(f"the {kind} at {mount.dest!r:.100} has no ID")
    return ExecMount(
        type=kind,
        target=target(mount.dest),
        input=mount.input if kind in ("bind", "cache") else EMPTY,
        output=output if is_bind else NO_OUTPUT,
        source=posixpath.normpath("/" + mount.selector.lstrip("/")),
        writable=not mount.readonly,
        id=id,
        sharing=known(SHARINGS, cache.sharing, "sharing of a cache") if cache else "shared",
        required=asked is not None and not asked.optional,
        mode=asked.mode & 0o7777 if asked is not None else 0o755,
        uid=asked.uid if asked is not None else 0,
        gid=asked.gid if asked is not None else 0,
        size=mount.tmpfsOpt.size if kind == "tmpfs" and mount.tmpfsOpt is not None else 0,
    )


def target(path: str) -> str:
    """A mount point without ``.`` and ``..``; raises ``InvalidParameter``."""
    if not path.startswith("/") or "\0" in path:
        raise InvalidParameter(f"the mount point {path!r:.100} is no absolute path")
    return "/" + posixpath.normpath(path).lstrip("/")


def proxies(meta: pb.Meta) -> list[str]:
    """The variables of a program's proxies, in both spellings."""
    found = []
    for name, value in vars(meta.proxy_env).items() if meta.proxy_env is not None else ():
        found += [f"{name.upper()}={value}", f"{name}={value}"] if value else []
    return found


def known(words: dict[int, T], number: int, what: str) -> T:
    """What a number of an enumeration means; raises ``InvalidParameter``."""
    if number not in words:
        raise InvalidParameter(f"unknown {what}: {number}")
    return words[number]
