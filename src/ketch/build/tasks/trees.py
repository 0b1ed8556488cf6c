"""Questions about an image's tree, and directories made in it, by workers whose root it may be.

Signature ``(args, fds) -> dict`` of the launcher's ``work`` operation. Images are somebody else's:
every path is looked up inside its own root.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import Any

from ketch.errors import InvalidParameter, NotFound, StartFailed
from ketch.layers.create import open_umask
from ketch.layers.placing import followed
from ketch.layers.unpack import Ownership
from ketch.layers.unpack import make_directories as owned_directories
from ketch.linux.paths import open_in_root
from ketch.runtime import users

Args = dict[str, Any]


def make_directory(args: Args, fds: list[int]) -> Args:
    """In an image's tree: ``{"path", "owner"}`` → ``{"made": bool}``; raises
    ``InvalidParameter``. An owner that the image does not know is root."""
    path = str(args["path"])
    root_fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            os.close(open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY))
            return {"made": False}
        except FileNotFoundError:
            pass
        belongs: tuple[int, int] | None = None
        if args.get("owner"):
            with suppress(InvalidParameter):
                found = owner(args, fds)
                belongs = found["uid"], found["gid"]
        with open_umask():
            there = os.fsencode(followed(root_fd, path))
            os.close(owned_directories(root_fd, there, Ownership(belongs)))
        return {"made": True}
    except (FileNotFoundError, NotADirectoryError, NotFound, InvalidParameter):
        raise InvalidParameter(f"{path} of the image can't be a directory") from None
    finally:
        os.close(root_fd)


def exists(args: Args, fds: list[int]) -> Args:
    """In an image's tree, or below fds ``[directory]``: ``{"path"}`` → ``{"exists": bool}``."""
    root_fd = fds[0] if fds else os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(open_in_root(root_fd, str(args["path"]), os.O_PATH | os.O_NOFOLLOW))
        return {"exists": True}
    except OSError:
        return {"exists": False}


def facts(args: Args, fds: list[int]) -> Args:
    """In an image's tree: ``{"path"}`` → ``{"mode", "uid", "gid"}``, links followed; raises
    ``NotFound``."""
    root_fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = open_in_root(root_fd, str(args["path"]), os.O_PATH)
    except OSError:
        raise NotFound(f'failed to compute cache key: "{args["path"]}": not found') from None
    finally:
        os.close(root_fd)
    found = os.fstat(fd)
    os.close(fd)
    return {"mode": found.st_mode, "uid": found.st_uid, "gid": found.st_gid}


def directories(args: Args, fds: list[int]) -> Args:
    """In an image's tree: ``{"path"}`` → ``{"found": [[permissions, uid, gid], …]}`` of the
    directories on the way that are there; a link ends it."""
    root_fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    found: list[list[int]] = []
    walked = ""
    for name in [part for part in str(args["path"]).split("/") if part]:
        walked += f"/{name}"
        try:
            fd = open_in_root(root_fd, walked, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            break
        info = os.fstat(fd)
        os.close(fd)
        found.append([stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid])
    os.close(root_fd)
    return {"found": found}


def owner(args: Args, fds: list[int]) -> Args:
    """In an image's tree: ``{"owner": "user[:group]"}`` → ``{"uid", "gid"}``.

    Without a group it is the user's own, or has the number that was given for the user, as in
    BuildKit.
    """
    user, colon, group = str(args["owner"]).partition(":")
    root_fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        uid, own = _ids(root_fd, user or "0")
        gid = users.find_group(root_fd, group or "0") if colon else own
    except StartFailed as error:
        raise InvalidParameter(f"--chown={args['owner']}: {error}") from None
    finally:
        os.close(root_fd)
    return {"uid": uid, "gid": gid}


def _ids(root_fd: int, user: str) -> tuple[int, int]:
    found = users.find_user(root_fd, user)
    if found is not None:
        return found.uid, found.uid if user.isdigit() else found.gid
    if not (user.isascii() and user.isdigit()):
        raise InvalidParameter(
            f"unable to find user {user}: no matching entries in passwd file of the image"
        )
    return int(user), int(user)
