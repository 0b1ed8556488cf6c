"""The build context as a tar stream: a directory less what ``.dockerignore`` excludes.

Excluded bytes never leave the machine (an archive of what is not excluded is sent); the Dockerfile
and ``.dockerignore`` themselves are always sent, since the engine needs them.
"""

import io
import os
import stat
import tarfile

from ketch.build.ignore import IgnoreRules, parse_ignore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

CHUNK = 1 << 18
MAGICS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")


def looks_like_archive(first: bytes) -> bool:
    """Whether 512 bytes begin a tar archive, plain or compressed."""
    return first.startswith(MAGICS) or first[257:262] == b"ustar"


def chain(first: bytes, rest: "BinaryIO") -> "Iterator[bytes]":
    """The bytes already read, then the rest of the stream."""
    yield first
    while piece := rest.read(CHUNK):
        yield piece


def lone(dockerfile: bytes) -> "Iterator[bytes]":
    """A context of nothing but a Dockerfile."""
    out = Buffer()
    with tarfile.open(fileobj=out, mode="w|") as tar:
        _add_bytes(tar, "Dockerfile", dockerfile)
    yield out.take()


def stream(folder: str, dockerfile: str, content: "bytes | None" = None) -> "Iterator[bytes]":
    """The tar stream of a directory; ``content`` is a Dockerfile from elsewhere, sent by name."""
    ignore = _rules(folder, dockerfile)
    kept = {dockerfile, ".dockerignore", dockerfile + ".dockerignore"}
    out = Buffer()
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name in _walk(folder, ignore, kept):
            _add(tar, folder, name)
            if out.size > CHUNK:
                yield out.take()
        if content is not None:
            _add_bytes(tar, dockerfile, content)
    yield out.take()


def _rules(folder: str, dockerfile: str) -> IgnoreRules:
    """``DOCKERFILE.dockerignore`` if there is one, else ``.dockerignore``, else no rules."""
    for name in (dockerfile + ".dockerignore", ".dockerignore"):
        try:
            with open(os.path.join(folder, name), "rb") as file:
                return parse_ignore(file.read())
        except FileNotFoundError:
            continue
    return IgnoreRules(())


class Buffer(io.RawIOBase):
    """A file object that keeps what is written until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes") -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        self.size += len(data)
        return len(data)

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self.size = 0
        return data


def _walk(folder: str, ignore: IgnoreRules, kept: "set[str]") -> "Iterator[str]":
    """Relative paths to send, parents before children, sorted."""
    pending = [""]
    while pending:
        here = pending.pop()
        with os.scandir(os.path.join(folder, here)) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        below = []
        for entry in found:
            name = os.path.join(here, entry.name)
            is_folder = entry.is_dir(follow_symlinks=False)
            excluded = ignore.excludes(name) and name not in kept
            if not excluded:
                yield name
            if is_folder and not ignore.prunes(name):
                below.append(name)
        pending.extend(reversed(below))


def _add(tar: tarfile.TarFile, folder: str, name: str) -> None:
    path = os.path.join(folder, name)
    if stat.S_ISSOCK(os.lstat(path).st_mode):  # it has no form in tar
        return
    entry = tar.gettarinfo(path, arcname=name)
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    if entry.isreg():
        with open(path, "rb") as file:
            tar.addfile(entry, file)
    else:
        tar.addfile(entry)


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o644
    tar.addfile(entry, io.BytesIO(content))
