"""Build graphs that are files of a repository or a URL, which the Dockerfile's own steps can take.

``docker buildx bake URL`` looks for its definitions in such a graph, and gives its targets
directories of it as contexts. Source: buildx's bake/remote.go, BuildKit's client/llb/source.go.
"""

from __future__ import annotations

import hashlib
import posixpath

import msgspec

from ketch.build.contexts.named_contexts import WITH_NAME
from ketch.errors import InvalidParameter, Unsupported
from ketch.llb.messages import Definition, FileActionCopy, Op, SourceOp

_DEEPEST = 16  # vertices one after another


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """Files that are fetched: a repository, an archive by URL that is unpacked, or (with a
    ``name``) what a URL has, as one file. ``keeps_name``: the directory that the URL names is the
    only thing in it."""

    url: str
    name: str = ""
    keeps_name: bool = False

    @property
    def context(self) -> str:
        """As the value of a named context."""
        return f"{WITH_NAME if self.keeps_name else ''}{self.url}"

    def below(self, path: str, *, keeps_name: bool = False) -> Files:
        """A directory of it."""
        path = posixpath.normpath("/" + path).strip("/")
        if not path:
            return self
        if self.keeps_name:
            raise _unsupported("a copy of a copy")
        address, mark, fragment = self.url.partition("#")
        if self.name or not _is_git(self):
            raise _unsupported("a directory of an archive")
        ref, _, subdir = fragment.partition(":") if mark else ("", "", "")
        url = f"{address}#{ref}:{posixpath.join(subdir, path)}"
        return Files(url=url, keeps_name=keeps_name)


def outcome(definition: Definition) -> Op:
    """The vertex that the last one of a graph names; raises ``InvalidParameter``."""
    last = Op.decode(definition.ops[-1]) if definition.ops else Op()
    return _inputs(definition, last)[0]


def outcome_digest(definition: Definition | None) -> str:
    """Of the vertex that a graph comes to; "" without one."""
    last = Op.decode(definition.ops[-1]) if definition is not None and definition.ops else Op()
    return last.inputs[0].digest if last.inputs else ""


def fetched_files(definition: Definition) -> Files | None:
    """What a graph comes to; None for anything but files that are fetched, or parts of them."""
    try:
        return _files(definition, outcome(definition), _DEEPEST)
    except Unsupported:
        return None


def digest_of(vertex: bytes) -> str:
    """By which other vertices name it."""
    return "sha256:" + hashlib.sha256(vertex).hexdigest()


def _inputs(definition: Definition, vertex: Op) -> list[Op]:
    known = {digest_of(data): data for data in definition.ops}
    if len(vertex.inputs) != 1 or vertex.inputs[0].digest not in known:
        raise InvalidParameter("malformed build graph: a vertex has not the one input it needs")
    return [Op.decode(known[vertex.inputs[0].digest])]


def _files(definition: Definition, vertex: Op, deepest: int) -> Files:
    if vertex.source is not None:
        return _fetched(vertex.source)
    if vertex.file is None or not deepest:
        raise _unsupported("a vertex that fetches no files")
    copy = _copy(vertex)
    below = _files(definition, _inputs(definition, vertex)[0], deepest - 1)
    if below.name:
        if not copy.attemptUnpackDockerCompatibility:
            raise _unsupported("a copy of a file")
        return Files(url=below.url)
    return below.below(copy.src, keeps_name=not copy.dirCopyContents)


def _copy(vertex: Op) -> FileActionCopy:
    actions = vertex.file.actions if vertex.file is not None else []
    copy = actions[0].copy if len(actions) == 1 else None
    if copy is None or copy.dest.strip("/") or copy.include_patterns or copy.exclude_patterns:
        raise _unsupported("a change of files")
    return copy


def _fetched(source: SourceOp) -> Files:
    scheme, _, rest = source.identifier.partition("://")
    if scheme == "git":
        fragment = rest.partition("#")[2]
        address = source.attrs.get("git.fullurl") or f"https://{rest.partition('#')[0]}"
        return Files(url=f"{address}#{fragment}" if fragment else address)
    if scheme in ("http", "https"):
        return Files(url=source.identifier, name=source.attrs.get("http.filename") or "download")
    raise _unsupported(f"{source.identifier!r:.200}")


def _is_git(files: Files) -> bool:
    return files.url.partition("#")[0].endswith(".git") or "#" in files.url


def _unsupported(what: str) -> Unsupported:
    return Unsupported(f"no files that are fetched: {what}")
