"""``ketch cp``: files between a container and here, as tar streams.

The rules for what is named how at the destination are Docker's (docker cp, "Extended description"):
a source ending in ``/.`` means the content of the directory; a destination that is a directory
takes the source under its own name; else the source is renamed.
"""

import io
import os
import sys
import tarfile

from ketch.cli.flags import Flag, UsageError, parse
from ketch.client.api import quote
from ketch.errors import NotFound
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ketch.client.api import Client

FLAGS = (
    Flag("archive", "a", "switch", "Archive mode (copy all uid/gid information)"),
    Flag("follow-link", "L", "switch", "Always follow symbol link in SRC_PATH"),
    Flag("quiet", "q", "switch", "Suppress progress output during copy"),
)
HELP = {"cp": ("[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|- | SRC_PATH|- CONTAINER:DEST_PATH", FLAGS)}
DIRECTORY = 1 << 31  # os.ModeDir of Go
CHUNK = 1 << 18


def cp(client: "Client", argv: "list[str]") -> int:
    """Copy in or out."""
    parsed = parse(FLAGS, argv)
    if len(parsed.words) != 2:
        raise UsageError("'ketch cp' requires 2 arguments")
    if parsed["follow-link"]:
        raise UsageError("--follow-link is not supported yet: name the link's target")
    source, target = parsed.words
    source_container, source_path = _split(source)
    target_container, target_path = _split(target)
    if source_container and target_container:
        raise UsageError("copying between containers is not supported")
    if source_container:
        _out(client, source_container, source_path, target_path)
    elif target_container:
        _in(client, source_path, target_container, target_path, keep=parsed["archive"])
    else:
        raise UsageError("must specify at least one container source")
    return 0


def _split(word: str) -> "tuple[str, str]":
    """``container:path`` or a local path (absolute, relative with a dot, or without a colon)."""
    if word.startswith(("/", ".", "-")) or ":" not in word:
        return "", word
    container, _, path = word.partition(":")
    return container, path


def _archive(container: str, path: str) -> str:
    return f"/containers/{container}/archive?path={quote(path)}"


def _out(client: "Client", container: str, path: str, target: str) -> None:
    response = client.stream("GET", _archive(container, path))
    if target == "-":
        for piece in response.pieces():
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    content_only = path.endswith("/.") or path == "."
    parent = os.path.dirname(os.path.abspath(target))
    if not os.path.isdir(parent):
        raise UsageError(f'invalid output path: directory "{parent}" does not exist')
    into_folder = os.path.isdir(target)
    with tarfile.open(fileobj=_Reader(response.pieces()), mode="r|") as tar:
        for entry in tar:
            entry.name = _renamed(entry.name, target, into_folder, content_only)
            if entry.islnk():
                entry.linkname = _renamed(entry.linkname, target, into_folder, content_only)
            base = target if into_folder or content_only else parent
            tar.extract(entry, base, filter="tar")


def _renamed(name: str, target: str, into_folder: bool, content_only: bool) -> str:
    """An entry's path below the folder it is extracted in."""
    _, _, rest = name.strip("/").partition("/")
    if content_only:
        return rest or "."
    if into_folder:
        return name
    return (
        os.path.join(os.path.basename(os.path.abspath(target)), rest)
        if rest
        else os.path.basename(os.path.abspath(target))
    )


def _in(client: "Client", source: str, container: str, target: str, *, keep: bool) -> None:
    stat = _stat(client, container, target)
    is_folder = bool(stat and stat["mode"] & DIRECTORY)
    query = "&noOverwriteDirNonDir=true" + ("&copyUIDGID=true" if keep else "")
    headers = {"Content-Type": "application/x-tar"}
    if source == "-":
        body: Iterable[bytes] = iter(lambda: sys.stdin.buffer.read(CHUNK), b"")
        destination = target
    else:
        if not os.path.lexists(source):
            raise UsageError(f"lstat {os.path.abspath(source)}: no such file or directory")
        destination, name = _destination(source, target, is_folder, exists=stat is not None)
        body = _pack(source, name)
    client.stream(
        "PUT", _archive(container, destination) + query, body=body, headers=headers
    ).body()


def _destination(source: str, target: str, is_folder: bool, *, exists: bool) -> "tuple[str, str]":
    """(directory to extract in, name of the root entry there)."""
    whole = os.path.basename(os.path.abspath(source))
    content_only = source.endswith(("/.",)) or source == "."
    if is_folder:
        return target, ("." if content_only else whole)
    if target.endswith("/") and not os.path.isdir(source):
        raise UsageError(f"destination directory {target} must exist")
    if exists and os.path.isdir(source):
        raise UsageError(f"cannot copy a directory to the file {target}")
    return os.path.dirname(target.rstrip("/")) or "/", os.path.basename(target.rstrip("/"))


def _stat(client: "Client", container: str, path: str) -> "dict[str, Any] | None":
    import base64

    try:
        response = client.stream("HEAD", _archive(container, path))
    except NotFound:  # an answer to HEAD says no more: is it the path or the container?
        client.call("GET", f"/containers/{container}/json")
        return None
    answer: dict[str, Any] = fastjson.loads(
        base64.b64decode(response.headers["x-docker-container-path-stat"])
    )
    return answer


def _pack(source: str, name: str) -> "Iterator[bytes]":
    from ketch.cli.context import Buffer

    out = Buffer()
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path, inner in _tree(source, name):
            tar.add(path, arcname=inner, recursive=False)
            if out.size > CHUNK:
                yield out.take()
    yield out.take()


def _tree(path: str, name: str) -> "Iterator[tuple[str, str]]":
    """(local path, name in the archive) of a file or of everything below a directory."""
    yield path, name
    if os.path.isdir(path) and not os.path.islink(path):
        for child in sorted(os.listdir(path)):
            yield from _tree(os.path.join(path, child), f"{name}/{child}")


class _Reader(io.RawIOBase):
    """A file object over pieces of bytes."""

    def __init__(self, pieces: "Iterator[bytes]") -> None:
        super().__init__()
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._rest += piece
        data, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return data
