"""Worker functions of the builder, on contexts and on trees of images.

Signature ``(args, fds) -> dict`` of the launcher's ``work`` operation. Contexts and images are
somebody else's: every path is looked up inside its own root. What needs no tree of an image is done
by one worker for the whole build (``serve``).
"""

from __future__ import annotations

import gc
import io
import json
import os
import socket
import stat
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ketch.build import context_image, context_tasks, stubs
from ketch.build.context_tasks import ContextsInMemory
from ketch.build.copy_tasks import checksum
from ketch.build.ignore import IgnoreRules, parse_ignore
from ketch.errors import InvalidParameter, NotFound, StartFailed
from ketch.layers.compression import decompressed
from ketch.layers.create import open_umask
from ketch.layers.placing import followed, unpack_stream
from ketch.layers.unpack import Ownership, Unpacker
from ketch.layers.unpack import make_directories as owned_directories
from ketch.linux.paths import open_in_root
from ketch.runtime import failures, users
from ketch.runtime.rootfs import mount_erofs
from ketch.snapshots.tasks import ingest, ingest_diff

Args = dict[str, Any]
NAMED = ".ketch-contexts"  # where a stream has contexts besides the build's own


def serve(args: Args, fds: list[int]) -> Args:
    """Do one build's requests until the socket closes.

    With ``ahead`` it has time until the build comes, and gets ready. Fds ``[socket, lending]``:
    first comes a byte with two more fds, the context's tar stream and the build's directory. A
    request is a line of JSON, ``{"do": …}`` and a key of ``requests``; the answer ``{"done": …}``
    or ``{"failed": …}`` (``ketch.runtime.failures``). By ``lending`` comes a byte with a tree's fd
    before each request that needs one (``layer``).
    """
    if args.get("ahead"):
        context_tasks.rehearse()
    with socket.socket(fileno=fds[0]) as control, socket.socket(fileno=fds[1]) as lending:
        _, given, _, _ = socket.recv_fds(control, 1, 2)
        if len(given) == 2:
            stream, build_fd = given
            with control.makefile("rwb") as lines:
                _answer(lines, _requests(stream, build_fd, lending))
    return {}


def _requests(
    stream: int, build_fd: int, lending: socket.socket
) -> dict[str, Callable[[Args], Args]]:
    known = ContextsInMemory()
    return {
        "receive": lambda request: _receive(request, stream, build_fd),
        "receive_image": lambda request: _receive_image(request, stream, build_fd, known),
        "adopt": lambda request: _adopt(request, build_fd),
        "checksum": lambda request: (
            known.checksum(request) or _in_tree(checksum, request, build_fd)
        ),
        "ingest": _ingest,
        "layer": lambda request: _layer(request, lending, known),
        "store": lambda request: _store(request, build_fd),
        "unpack": lambda request: _unpack(request, build_fd),
    }


def _answer(lines: io.BufferedRWPair, requests: dict[str, Callable[[Args], Args]]) -> None:
    for line in lines:
        request = json.loads(line)
        try:
            answer = {"done": requests[request["do"]](request)}
        except Exception as error:
            answer = {"failed": failures.to_wire(error)}
        lines.write(json.dumps(answer).encode() + b"\n")
        lines.flush()


def _ingest(request: Args) -> Args:
    if "stubs" in request:
        upper = os.open(str(request["upper"]), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            stubs.clean(upper, request["stubs"])
        finally:
            os.close(upper)
    return ingest_diff(request, [])


def _receive(request: Args, stream: int, build_fd: int) -> Args:
    """The stream is closed afterwards, so that who sends more than is wanted notices."""
    name = os.path.basename(str(request["directory"]))
    os.mkdir(name, 0o700, dir_fd=build_fd)
    root_fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=build_fd)
    try:
        return receive(request, [stream, root_fd, build_fd])
    finally:
        os.close(root_fd)
        os.close(stream)


def _receive_image(request: Args, stream: int, build_fd: int, known: ContextsInMemory) -> Args:
    """A whole context, for which no files are made; the stream is closed as in ``_receive``."""
    name = os.path.basename(str(request["image"]))
    image = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=build_fd)
    try:
        answer, tree = context_image.receive(stream, image, str(request["dockerfile"]))
        known.keep(name, tree, image)
        gc.freeze()  # it stays: nothing of it is to be looked at again and again
        return answer
    finally:
        os.close(image)
        os.close(stream)


def _unpack(request: Args, build_fd: int) -> Args:
    """``{"image", "tar_size", "ignore": base64, "directory": name of a new one}``."""
    name = os.path.basename(str(request["directory"]))
    os.mkdir(name, 0o700, dir_fd=build_fd)
    image = os.open(os.path.basename(str(request["image"])), os.O_RDONLY, dir_fd=build_fd)
    root_fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=build_fd)
    try:
        ignore = b64decode(request["ignore"])
        context_image.unpack(image, int(request["tar_size"]), ignore, root_fd)
    finally:
        os.close(image)
        os.close(root_fd)
    return {}


def _layer(request: Args, lending: socket.socket, known: ContextsInMemory) -> Args:
    _, lent, _, _ = socket.recv_fds(lending, 1, 1)
    try:
        return known.layer(request, lent[0])
    finally:
        os.close(lent[0])


def _store(request: Args, build_fd: int) -> Args:
    """Store the layer whose tar comes through a pipe of the build's directory, by its name."""
    # Not blocking: whoever writes may have done so and gone, then the pipe still holds all of it.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    pipe = os.open(os.path.basename(str(request["pipe"])), flags, dir_fd=build_fd)
    os.set_blocking(pipe, True)
    try:
        return ingest(request, [pipe])
    finally:
        os.close(pipe)


def _in_tree(task: Callable[[Args, list[int]], Args], request: Args, build_fd: int) -> Args:
    """``{"tree": a directory's name}`` or ``{"image": a context's}`` in the build's directory."""
    if "image" in request:
        name = os.path.basename(str(request["image"]))
        root_fd = mount_erofs(f"/proc/self/fd/{build_fd}/{name}")
    else:
        name = os.path.basename(str(request["tree"]))
        root_fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=build_fd)
    try:
        return task(request, [root_fd])
    finally:
        os.close(root_fd)


def receive(args: Args, fds: list[int]) -> Args:
    """Unpack a context and read its Dockerfile; what ``.dockerignore`` names is left out.

    ``{"dockerfile": path in the context}``, fds ``[tar stream, empty directory]``, and with
    ``contexts`` (name → directory) the build's directory, where they go; the answer has
    ``dockerfile`` and ``ignore`` in base64. Without such a path nothing is read and nothing left
    out. ``limit`` is how many bytes the archive may have. Raises ``NotFound`` when there is no
    Dockerfile.
    """
    stream, root_fd, *build_fds = fds
    limit = int(args.get("limit") or 0)
    with open_umask(), os.fdopen(os.dup(stream), "rb", 1 << 20) as raw:
        unpack_stream(decompressed(raw, limit=limit), Unpacker(root_fd, b"/"))
    if args.get("contexts"):
        _move_contexts(root_fd, build_fds[0], args["contexts"])
    return _texts(root_fd, str(args["dockerfile"]))


def _move_contexts(root_fd: int, build_fd: int, contexts: dict[str, str]) -> None:
    """Named contexts that came in the same stream get directories of their own."""
    for name, directory in contexts.items():
        path = f"{NAMED}/{name.encode().hex()}"
        try:
            is_directory = stat.S_ISDIR(os.lstat(NAMED, dir_fd=root_fd).st_mode) and stat.S_ISDIR(
                os.lstat(path, dir_fd=root_fd).st_mode
            )
        except OSError:
            is_directory = False
        if not is_directory:
            raise InvalidParameter(f"the context {name!r} was not sent")
        os.rename(path, os.path.basename(directory), src_dir_fd=root_fd, dst_dir_fd=build_fd)
    with suppress(OSError):
        os.rmdir(NAMED, dir_fd=root_fd)


def _adopt(request: Args, build_fd: int) -> Args:
    """Like ``receive`` for a directory that is there: ``{"tree": its name, "dockerfile"}``."""
    return _in_tree(lambda asked, fds: _texts(fds[0], str(asked["dockerfile"])), request, build_fd)


def _texts(root_fd: int, name: str) -> Args:
    """The Dockerfile and its ignore file, what that one excludes taken out."""
    if not name:
        return {}
    text, ignore = context_image.texts(lambda path: _read(root_fd, path), name)
    _prune(root_fd, parse_ignore(ignore))
    return {"dockerfile": b64encode(text).decode(), "ignore": b64encode(ignore).decode()}


def _read(root_fd: int, path: str) -> bytes | None:
    """A regular file's content; None when there is none."""
    try:
        fd = open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise InvalidParameter(f"{path} in the build context is not a regular file")
        if info.st_size > context_image.LARGEST_TEXT:
            raise InvalidParameter(f"{path} in the build context is larger than 4 MiB")
        with os.fdopen(os.dup(fd), "rb") as file:
            return file.read()
    finally:
        os.close(fd)


def _prune(root_fd: int, rules: IgnoreRules) -> None:
    """Delete what the rules exclude; a directory stays while something in it is wanted."""
    if not rules:
        return
    for folder, directories, files, fd in os.fwalk(".", topdown=False, dir_fd=root_fd):
        prefix = "" if folder == "." else folder.removeprefix("./") + "/"
        for name in files:
            if rules.excludes(prefix + name):
                os.unlink(name, dir_fd=fd)
        for name in directories:
            if rules.excludes(prefix + name):
                _remove_directory(name, fd)


def _remove_directory(name: str, fd: int) -> None:
    try:
        os.rmdir(name, dir_fd=fd)
    except NotADirectoryError:
        os.unlink(name, dir_fd=fd)  # a link to a directory
    except OSError:
        pass  # not empty: an exception is below


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
