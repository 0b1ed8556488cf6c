"""A small producer of build graphs, as BuildKit's client/llb is one in Go."""

from __future__ import annotations

from typing import Any, NamedTuple

from ketch.llb import exec_messages as pb
from ketch.llb import messages as llb
from ketch.oci.digest import of

KEPT = -1


class Node(NamedTuple):
    """An output of a vertex; its vertices come with it, inputs first."""

    vertices: tuple[bytes, ...]
    output: int = 0

    @property
    def digest(self) -> str:
        return of(self.vertices[-1])

    def at(self, output: int) -> Node:
        """Another output of the same vertex."""
        return Node(self.vertices, output)


SCRATCH = None


def node(op: llb.Op, *inputs: Node) -> Node:
    op.inputs = [llb.Input(digest=one.digest, index=one.output) for one in inputs]
    known = dict.fromkeys(vertex for one in inputs for vertex in one.vertices)
    return Node((*known, op.encode()))


def definition(of_what: Node, **metadata: llb.OpMetadata) -> llb.Definition:
    last = llb.Op(inputs=[llb.Input(digest=of_what.digest, index=of_what.output)])
    return llb.Definition(ops=[*of_what.vertices, last.encode()], metadata=metadata)


def source(identifier: str, **attrs: str) -> Node:
    """Attributes with ``__`` for a dot."""
    named = {name.replace("__", "."): text for name, text in attrs.items()}
    return node(llb.Op(source=llb.SourceOp(identifier=identifier, attrs=named)))


def image(name: str) -> Node:
    return source(f"docker-image://docker.io/library/{name}:latest")


def mount(place: int, dest: str, output: int = -1, **more: Any) -> pb.MountMessage:
    return pb.MountMessage(input=place, dest=dest, output=output, **more)


def run(
    root: Node,
    script: str,
    mounts: list[pb.MountMessage] | None = None,
    inputs: list[Node] | None = None,
    *,
    root_mount: dict[str, Any] | None = None,
    meta: dict[str, Any] | None = None,
    **more: Any,
) -> Node:
    """``sh -c`` over ``root``; ``inputs`` are counted from 1."""
    words = {"args": ["sh", "-c", script], "cwd": "/", **(meta or {})}
    first = mount(**{"place": 0, "dest": "/", "output": 0, **(root_mount or {})})
    exec = llb.ExecOp(meta=pb.Meta(**words), mounts=[first, *(mounts or [])], **more)
    return node(llb.Op(exec=exec), root, *(inputs or []))


def action(place: int, output: int = 0, files: int = -1, **kind: Any) -> llb.FileAction:
    return llb.FileAction(input=place, secondaryInput=files, output=output, **kind)


def files(actions: list[llb.FileAction], *inputs: Node) -> Node:
    return node(llb.Op(file=llb.FileOp(actions=actions)), *inputs)


def copy(src: str, dest: str, **more: Any) -> llb.FileActionCopy:
    return llb.FileActionCopy(**{"src": src, "dest": dest, "mode": KEPT, "timestamp": KEPT, **more})


def mkfile(path: str, data: bytes, mode: int = 0o644, **more: Any) -> llb.FileActionMkFile:
    words = {"path": path, "data": data, "mode": mode, "timestamp": KEPT, **more}
    return llb.FileActionMkFile(**words)


def mkdir(path: str, mode: int = 0o755, **more: Any) -> llb.FileActionMkDir:
    return llb.FileActionMkDir(**{"path": path, "mode": mode, "timestamp": KEPT, **more})


def merge(*inputs: Node) -> Node:
    places = [llb.MergeInput(input=place) for place in range(len(inputs))]
    return node(llb.Op(merge=llb.MergeOp(inputs=places)), *inputs)


def diff(lower: Node | None, upper: Node | None) -> Node:
    inputs = [one for one in (lower, upper) if one is not None]
    low = llb.MergeInput(input=0 if lower is not None else -1)
    up = llb.MergeInput(input=len(inputs) - 1 if upper is not None else -1)
    return node(llb.Op(diff=llb.DiffOp(lower=low, upper=up)), *inputs)
