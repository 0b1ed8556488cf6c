"""Worker tasks: file systems of volumes, mounted in the host's mount namespace.

Where the user sees them, as with Docker, and where every daemon after a crash finds them. A worker
does it, because a server that does not answer may hold mount(2) up: a worker can be killed. Its
first fd is the mount namespace.
"""

import os
import socket

from ketch.errors import KetchError
from ketch.linux import mountapi
from ketch.linux.namespaces import CLONE_NEWNS, setns
from ketch.volumes.mountinfo import mounted_below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Body = dict[str, Any]

_MS_REMOUNT, _MS_BIND, _MS_REC = 32, 4096, 16384
_ENODEV, _EBUSY, _EINVAL, _ENOENT = 19, 16, 22, 2


def mount(args: "Body", fds: "list[int]") -> "Body":
    """Mount ``type`` from ``device`` at ``target`` with ``flags`` and ``data``; ``address`` is a
    host name that stands behind ``addr=`` in ``data`` and is put in as a number."""
    setns(fds[0], CLONE_NEWNS)
    kind, device, target = args["type"], args["device"], args["target"]
    flags, data = args["flags"], args["data"]
    what = f"failed to mount local volume: mount {device}:{target}"
    try:
        if args["address"]:
            number = _resolved(args["address"])
            data = data.replace(f"addr={args['address']}", f"addr={number}")
        mountapi.mount(device, target, "" if kind == "none" else kind, flags, data)
        if flags & _MS_BIND and flags & ~(_MS_BIND | _MS_REC):  # mount(2), "Creating a bind mount"
            mountapi.mount("", target, "", flags & ~_MS_REC | _MS_REMOUNT)
    except OSError as error:
        options = f", data: {data}" if data else ""
        reason = _reason(error, kind)
        raise KetchError(f"{what}{options}: {reason}") from None
    return {}


def _resolved(host: str) -> str:
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except socket.gaierror as error:
        raise OSError(0, f"cannot resolve addr={host}: {error.args[1]}") from None


def _reason(error: OSError, kind: str) -> str:
    reason = (error.strerror or str(error)).lower() if error.errno else str(error.strerror)
    if error.errno == _ENODEV:
        return f"{reason}: the kernel has no file system {kind!r}"
    return reason


def unmount(args: "Body", fds: "list[int]") -> "Body":
    """Unmount what is mounted at ``target``, all layers of it; nothing if there is nothing."""
    setns(fds[0], CLONE_NEWNS)
    target = args["target"]
    while target in mounted_below(os.path.dirname(target)):
        try:
            mountapi.umount(target)
        except OSError as error:
            if error.errno in (_EINVAL, _ENOENT):
                break
            if error.errno != _EBUSY:
                raise
            mountapi.umount(target, mountapi.MNT_DETACH)
    return {}
