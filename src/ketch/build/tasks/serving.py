"""A worker that serves one build: its requests, one after another (``serve``).

Signature ``(args, fds) -> dict`` of the launcher's ``work`` operation. Contexts are somebody
else's: every path is looked up inside its own root.
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

from ketch.build.contexts.ignore import IgnoreRules, parse_ignore
from ketch.build.tasks import context_copy, context_image, stubs
from ketch.build.tasks.context_copy import ContextsInMemory
from ketch.build.tasks.copy import checksum
from ketch.errors import InvalidParameter
from ketch.layers.compression import decompressed
from ketch.layers.create import open_umask
from ketch.layers.placing import unpack_stream
from ketch.layers.unpack import Unpacker
from ketch.linux.paths import open_in_root
from ketch.runtime import failures
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
        context_copy.rehearse()
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
