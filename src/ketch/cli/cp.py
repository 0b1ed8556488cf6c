"""``ketch cp``: files between a container and here, as tar streams.

The rules for what is named how at the destination are Docker's (docker cp, "Extended description"):
a source ending in ``/.`` means the content of the directory; a destination that is a directory
takes the source under its own name; else the source is renamed.
"""

import os
import sys

from ketch.cli import cp_local, routes, transfer
from ketch.cli.flags import Failure, Flag, count, parse
from ketch.client.api import quote
from ketch.errors import KetchError, NotFound
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

FLAGS = (
    Flag("archive", "a", "switch", "Archive mode (copy all uid/gid information)"),
    Flag("follow-link", "L", "switch", "Always follow symbol link in SRC_PATH"),
    Flag("quiet", "q", "switch", "Suppress progress output during copy. Progress output is "
         "automatically suppressed if no terminal is attached"),
)  # fmt: skip
USAGE = (
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\nketch cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH"
)
HELP = {"cp": (USAGE, FLAGS)}
DIRECTORY, SYMLINK = 1 << 31, 1 << 27  # os.ModeDir and os.ModeSymlink of Go
CHUNK = 1 << 18
MOST_LINKS = 40


def cp(client: "Client", argv: "list[str]") -> int:
    """Copy in or out."""
    parsed = parse(FLAGS, argv)
    count(parsed, "cp", 2)
    source, target = parsed.words
    if not source or not target:
        which = "source" if not source else "destination"
        raise Failure(f"{which} can not be empty")
    source_container, source_path = split(source)
    target_container, target_path = split(target)
    if source_container and target_container:
        raise Failure("copying between containers is not supported")
    if not source_path or not target_path:
        raise Failure("bad parameter: path cannot be empty")
    if source_container:
        _out(client, source_container, source_path, target_path, parsed)
    elif target_container:
        _in(client, source_path, target_container, target_path, parsed)
    else:
        raise Failure("must specify at least one container source")
    return 0


def split(word: str) -> "tuple[str, str]":
    """``container:path`` or a local path (absolute, relative with a dot, or without a colon)."""
    if word.startswith(("/", ".", "-")) or ":" not in word:
        return "", word
    container, _, path = word.partition(":")
    return container, path


def _archive(container: str, path: str) -> str:
    return routes.container(container, f"/archive?path={quote(path)}")


def _out(client: "Client", container: str, path: str, target: str, parsed: "Parsed") -> None:
    if target != "-":
        cp_local.check_parent(target)
    renamed = ""
    if parsed["follow-link"]:
        stat = _stat(client, container, path)
        if stat is not None and stat["mode"] & SYMLINK:
            renamed = os.path.basename(path.rstrip("/"))
            path = _joined(path, stat["linkTarget"])
    response = client.stream("GET", _archive(container, path))
    if target == "-":
        for piece in response.pieces():
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    stat = _read_stat(response.headers["x-docker-container-path-stat"])
    plan = cp_local.plan(path, bool(stat["mode"] & DIRECTORY), target, renamed)
    counter = _Counter(response.pieces(), "Copying from container", parsed["quiet"])
    cp_local.extract(counter.pieces, plan, keep_owner=parsed["archive"])
    counter.tell(target)


class _Counter:
    """Shows how far a copy has come, and says at its end how much it was."""

    def __init__(self, pieces: "Iterable[bytes]", what: str, quiet: bool, path: str = "") -> None:
        self._quiet = quiet or not sys.stderr.isatty()
        self._size = 0
        shown = pieces if self._quiet else transfer.counted(pieces, what, path)
        self.pieces = map(self._count, shown)

    def _count(self, piece: bytes) -> bytes:
        self._size += len(piece)
        return piece

    def tell(self, target: str) -> None:
        """``Successfully copied 2.05kB to web:/x``, on a terminal."""
        if not self._quiet:
            from ketch.cli.units import human_size

            sys.stderr.write(f"Successfully copied {human_size(self._size)} to {target}\n")


def _in(client: "Client", source: str, container: str, target: str, parsed: "Parsed") -> None:
    target, stat = _resolved(client, container, target)
    is_folder = bool(stat and stat["mode"] & DIRECTORY)
    query = "&noOverwriteDirNonDir=true" + ("&copyUIDGID=true" if parsed["archive"] else "")
    headers = {"Content-Type": "application/x-tar"}
    if source == "-":
        if not is_folder:
            raise Failure(f'destination "{container}:{target}" must be a directory')
        body: Iterable[bytes] = iter(lambda: sys.stdin.buffer.read(CHUNK), b"")
        destination = target
    else:
        if not os.path.lexists(source):
            raise Failure(f"lstat {os.path.abspath(source)}: no such file or directory")
        local = os.path.realpath(source) if parsed["follow-link"] else source
        whole = os.path.isdir(local) and not os.path.islink(local.rstrip("/"))
        destination, name = _destination(source, whole, target, stat)
        body = cp_local.pack(local, name)
    size_of = "" if source == "-" else source
    counter = _Counter(body, "Copying to container", parsed["quiet"], size_of)
    path = _archive(container, destination) + query
    client.stream("PUT", path, body=iter(counter.pieces), headers=headers).body()
    counter.tell(f"{container}:{target}")


def _resolved(client: "Client", container: str, target: str) -> "tuple[str, dict[str, Any] | None]":
    """The destination with symbolic links at its end followed, and what is there."""
    stat = _stat(client, container, target)
    for _ in range(MOST_LINKS):
        if stat is None or not stat["mode"] & SYMLINK:
            return target, stat
        target = _joined(target, stat["linkTarget"])
        stat = _stat(client, container, target)
    raise Failure(f"too many levels of symbolic links in {container}:{target}")


def _joined(path: str, link: str) -> str:
    """Where a link at ``path`` points."""
    return os.path.normpath(os.path.join(os.path.dirname(path.rstrip("/")) or "/", link))


def _destination(
    source: str, is_folder: bool, target: str, stat: "dict[str, Any] | None"
) -> "tuple[str, str]":
    """(directory to extract in, name of the root entry there)."""
    content_only = cp_local.means_content(source)
    if stat is not None and stat["mode"] & DIRECTORY:
        whole = os.path.basename(os.path.abspath(source))
        return target, ("." if content_only and is_folder else whole)
    if stat is not None and is_folder:
        raise Failure("cannot copy directory")
    if stat is None and target.endswith(("/", "/.")) and not is_folder:
        raise Failure("no such directory")
    bare = target.rstrip("/")
    return os.path.dirname(bare) or "/", os.path.basename(bare)


def _stat(client: "Client", container: str, path: str) -> "dict[str, Any] | None":
    """What is at a path; None when nothing is. Raises for a container that is not there."""
    try:
        response = client.stream("HEAD", _archive(container, path))
    except NotFound:  # an answer to HEAD says no more: is it the path or the container?
        client.call("GET", routes.container(container, "/json"))
        return None
    except KetchError:  # nor does another refusal: the same by GET has the words
        client.stream("GET", _archive(container, path)).connection.close()
        raise
    return _read_stat(response.headers["x-docker-container-path-stat"])


def _read_stat(header: str) -> "dict[str, Any]":
    import base64

    answer: dict[str, Any] = fastjson.loads(base64.b64decode(header))
    return answer
