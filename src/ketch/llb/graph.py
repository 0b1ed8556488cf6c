"""A client's definition to a checked graph.

Nothing of it is trusted: vertices are known by the digests of their bytes, so that no graph has
cycles; each names inputs that are there, and outputs that those have. What no part of ketch honours
is refused by name. Source: BuildKit's solver/pb and solver/llbsolver/vertex.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ketch.errors import InvalidParameter, KetchError, Unsupported
from ketch.llb import execs, files, sources
from ketch.llb import messages as pb
from ketch.llb.naming import name_of
from ketch.llb.vertices import (
    EMPTY,
    Build,
    Diff,
    Edge,
    Exec,
    Files,
    Graph,
    Merge,
    Vertex,
    Work,
)
from ketch.oci import digest as digests

_MOST_VERTICES = 20_000
_MOST_INPUTS = 1000
_BUILDER = -1  # the only builder of a build op: the engine itself
_DEFINITION = "buildkit.llb.definition"
_FILENAME = "llbbuild.filename"


def graph_of(definition: pb.Definition) -> Graph:
    """Raises ``InvalidParameter`` and ``Unsupported``; no vertices are an empty tree."""
    if not definition.ops:
        return Graph((), None)
    if len(definition.ops) > _MOST_VERTICES:
        raise InvalidParameter(f"a build graph has {_MOST_VERTICES} vertices at most")
    last = _decoded(definition.ops[-1])
    if _kinds(last) or len(last.inputs) != 1:
        raise InvalidParameter("the last vertex of a build graph has to name its outcome alone")
    outcome = _edge(last.inputs[0])
    found = _Vertices(definition)
    found.reach(outcome.vertex)
    found.check(outcome)
    return Graph(tuple(found.ordered.values()), outcome)


class _Vertices:
    """Those of one definition that the outcome needs, each after its inputs."""

    def __init__(self, definition: pb.Definition) -> None:
        self._data = {digests.of(data): data for data in definition.ops}
        self._metadata = definition.metadata
        self.ordered: dict[str, Vertex] = {}

    def reach(self, digest: str) -> None:
        """Without recursion: chains may be long."""
        waiting = [self._waiting(digest)]
        while waiting:
            name, op, inputs = waiting[-1]
            missing = next((one for one in inputs if one.digest not in self.ordered), None)
            if missing is not None:
                waiting.append(self._waiting(missing.digest))
                continue
            waiting.pop()
            self.ordered[name] = self._vertex(name, op)

    def _waiting(self, digest: str) -> tuple[str, pb.Op, Iterator[pb.Input]]:
        op = self._op(digest)
        return digest, op, iter(op.inputs)

    def _op(self, digest: str) -> pb.Op:
        if digest not in self._data:
            raise InvalidParameter(f"invalid missing input digest {digest!r:.100} in a build graph")
        op = _decoded(self._data[digest])
        if len(op.inputs) > _MOST_INPUTS:
            raise InvalidParameter(f"a vertex of a build graph has {_MOST_INPUTS} inputs at most")
        return op

    def _vertex(self, digest: str, op: pb.Op) -> Vertex:
        metadata = self._metadata.get(digest) or pb.OpMetadata()
        inputs = tuple(_edge(one) for one in op.inputs)
        for edge in inputs:
            self.check(edge)
        try:
            work = _work(op)
        except Unsupported as error:
            raise Unsupported(f"build graph: {error}") from None
        except KetchError as error:
            raise InvalidParameter(f"malformed build graph: {error}") from None
        return Vertex(
            digest=digest,
            work=work,
            inputs=inputs,
            name=name_of(work, op, inputs, metadata.description, self.ordered),
            platform=_platform(op),
            fresh=metadata.ignore_cache,
            outputs=_outputs(work),
        )

    def check(self, edge: Edge) -> None:
        """Raises ``InvalidParameter`` for an output that its vertex does not have."""
        if edge.output not in self.ordered[edge.vertex].outputs:
            raise InvalidParameter(f"no output {edge.output} of the vertex {edge.vertex}")


def _decoded(data: bytes) -> pb.Op:
    try:
        return pb.Op.decode(data)
    except Unsupported as error:
        raise Unsupported(f"build graph: {error}") from None


def _edge(one: pb.Input) -> Edge:
    return Edge(one.digest, one.index)


def _kinds(op: pb.Op) -> list[Any]:
    each = (op.exec, op.source, op.file, op.build, op.merge, op.diff)
    return [kind for kind in each if kind is not None]


def _work(op: pb.Op) -> Work:
    if len(_kinds(op)) != 1:
        raise InvalidParameter(f"a vertex does one thing, not {len(_kinds(op))}")
    if op.constraints is not None and op.constraints.filter:
        raise Unsupported("constraints of a vertex are not supported: there is one worker")
    count = len(op.inputs)
    if op.source is not None:
        return sources.source(op.source)
    if op.exec is not None:
        return _in_range(execs.command(op.exec), count)
    if op.file is not None:
        return files.files(op.file, count)
    if op.merge is not None:
        return _merge(op.merge, count)
    if op.diff is not None:
        lower, upper = (one.input if one else EMPTY for one in (op.diff.lower, op.diff.upper))
        return Diff(_place(lower, count, "diff"), _place(upper, count, "diff"))
    assert op.build is not None
    return _build(op.build, count)


def _in_range(found: Exec, count: int) -> Exec:
    for mount in (found.root, *found.mounts):
        _place(mount.input, count, "exec")
    return found


def _place(number: int, count: int, what: str) -> int:
    if not EMPTY <= number < count:
        raise InvalidParameter(f"the {what} op has no input {number}")
    return number


def _merge(merge: pb.MergeOp, count: int) -> Merge:
    if len(merge.inputs) < 2:
        raise InvalidParameter(
            f"invalid merge op with {len(merge.inputs)} inputs, must be at least 2"
        )
    return Merge(tuple(_place(one.input, count, "merge") for one in merge.inputs))


def _build(build: pb.BuildOp, count: int) -> Build:
    if build.builder != _BUILDER:
        raise Unsupported("the builder of a build op is not supported: only the engine itself is")
    if build.definition is not None and build.definition.ops:
        raise Unsupported("the definition of a build op is not supported: it has to be an input")
    given = build.inputs.get(_DEFINITION)
    if given is None or len(build.inputs) != 1:
        raise InvalidParameter(f"a build op has one input, {_DEFINITION}")
    for name in build.attrs:
        if name != _FILENAME:
            raise Unsupported(f"the attribute {name!r:.100} of a build op is not supported")
    place = _place(given.input, count, "build")
    return Build(place, build.attrs.get(_FILENAME) or _DEFINITION)


def _outputs(work: Work) -> frozenset[int]:
    if isinstance(work, Exec):
        return frozenset(work.outputs)
    if isinstance(work, Files):
        return frozenset(action.output for action in work.actions if action.output >= 0)
    return frozenset((0,))


def _platform(op: pb.Op) -> str:
    asked = op.platform
    if asked is None or not (asked.OS or asked.Architecture):
        return ""
    if asked.OSFeatures:
        raise Unsupported("build graph: OSFeatures of a platform are not supported")
    return "/".join(filter(None, (asked.OS or "linux", asked.Architecture, asked.Variant)))
