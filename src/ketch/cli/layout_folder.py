"""OCI layouts in directories of this machine: what a build takes from them and puts there.

Only what a root needs is sent. What a build writes joins what was there: other names of
``index.json`` stay (image-spec, image-layout.md).
"""

import os

from ketch.cli import tar_entries
from ketch.cli.flags import Failure
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_REF = "org.opencontainers.image.ref.name"
_NAME = "io.containerd.image.name"
_DOCUMENTS = ("manifest.v1+json", "index.v1+json", "manifest.v2+json", "manifest.list.v2+json")
_LARGEST = 64 << 20


def root_of(folder: str, tag: str) -> str:
    """The digest under a tag, or of the only root there is; raises ``Failure``."""
    entries = _entries(folder)
    if entries is None:
        raise Failure(f"{folder} is no OCI layout: it has no readable index.json")
    found = [entry for entry in entries if (entry.get("annotations") or {}).get(_REF) == tag]
    if not found and len(entries) == 1:
        found = entries
    if not found:
        raise Failure(f"{folder} has nothing with the tag {tag!r}")
    return str(found[0].get("digest"))


def stream(folder: str, roots: "Iterable[str]") -> "Iterator[bytes]":
    """A tar archive of ``index.json`` and all that some digests need and that is there."""
    names = ["index.json", *(_path(digest) for digest in _needed(folder, roots))]
    for name in names:
        if os.path.isfile(os.path.join(folder, name)):
            yield from tar_entries.of_path(folder, name)
    yield tar_entries.END


def roots(folder: str, tag: str, digest: str) -> "list[str]":
    """The digest, or those under the tag, if any."""
    if digest:
        return [digest]
    entries = _entries(folder) or []
    named = [entry for entry in entries if (entry.get("annotations") or {}).get(_REF) == tag]
    return [str(entry.get("digest")) for entry in named]


class Joined:
    """A layout that is about to be written over: ``finish`` puts back the names it had."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._before = _entries(folder) or []

    def finish(self, *, reset: bool = False) -> None:
        """With ``reset`` what no name needs any more is deleted."""
        fresh = _entries(self._folder) or []
        taken = {_key(entry) for entry in fresh}
        kept = [entry for entry in self._before if _key(entry) not in taken]
        if kept:
            path = os.path.join(self._folder, "index.json")
            document = _document(path)
            document["manifests"] = [*kept, *fresh]
            with open(path + ".new", "wb") as file:
                file.write(fastjson.dumps(document))
            os.rename(path + ".new", path)
        if reset:
            self._sweep([str(entry.get("digest")) for entry in (*kept, *fresh)])

    def _sweep(self, digests: "list[str]") -> None:
        needed = {_path(digest) for digest in _needed(self._folder, digests)}
        for algorithm in ("sha256", "sha512"):
            folder = os.path.join(self._folder, "blobs", algorithm)
            for name in os.listdir(folder) if os.path.isdir(folder) else ():
                if f"blobs/{algorithm}/{name}" not in needed:
                    os.unlink(os.path.join(folder, name))


def _key(entry: "dict[str, Any]") -> "tuple[Any, ...]":
    """What two entries of an index must not share: their name, or else their digest."""
    notes = entry.get("annotations") or {}
    named = (notes.get(_NAME), notes.get(_REF))
    return named if any(named) else (entry.get("digest"),)


def _entries(folder: str) -> "list[dict[str, Any]] | None":
    found = _document(os.path.join(folder, "index.json")).get("manifests")
    if not isinstance(found, list):
        return None
    return [entry for entry in found if isinstance(entry, dict)]


def _document(path: str) -> "dict[str, Any]":
    """A JSON object; empty for what is none."""
    try:
        with open(path, "rb") as file:
            found = fastjson.loads(file.read(_LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _needed(folder: str, digests: "Iterable[str]") -> "list[str]":
    """The digests and all that their documents name."""
    found: dict[str, None] = {}
    pending = list(digests)
    while pending:
        digest = pending.pop()
        if digest in found or not _is_plain(digest):
            continue
        found[digest] = None
        pending += _parts(_document(os.path.join(folder, _path(digest))), found)
    return list(found)


def _parts(document: "dict[str, Any]", found: "dict[str, None]") -> "list[str]":
    """Documents to look into; blobs are put to what is ``found``."""
    further = []
    for part in [document.get("config"), *_list(document, "layers"), *_list(document, "manifests")]:
        digest = part.get("digest") if isinstance(part, dict) else None
        if not isinstance(digest, str) or not _is_plain(digest):
            continue
        if str(part.get("mediaType")).endswith(_DOCUMENTS):
            further.append(digest)
        else:
            found[digest] = None
    return further


def _list(document: "dict[str, Any]", key: str) -> "list[Any]":
    found = document.get(key)
    return found if isinstance(found, list) else []


def _is_plain(digest: str) -> bool:
    algorithm, _, digits = digest.partition(":")
    return algorithm in ("sha256", "sha512") and digits.isalnum() and digits.isascii()


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/", 1)
