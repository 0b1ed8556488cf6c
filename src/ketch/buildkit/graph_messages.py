"""Messages of BuildKit's build graphs, LLB (solver/pb/ops.proto): as much as passes for inputs."""

from __future__ import annotations

from ketch.protobuf import Message, field


class OpMetadata(Message):
    """What is told of a vertex besides what it does."""

    description: dict[str, str] = field(2)


class Definition(Message):
    """``pb.Definition``: vertices, each after those it needs; the last one only names the outcome.

    ``metadata`` is by the digest of a vertex.
    """

    ops: list[bytes] = field(1)
    metadata: dict[str, OpMetadata] = field(2)


class Input(Message):
    """Another vertex by its digest, and which of its outputs."""

    digest: str = field(1)
    index: int = field(2)


class SourceOp(Message):
    """Something that comes from outside, by a URL-like name."""

    identifier: str = field(1)
    attrs: dict[str, str] = field(2)


class FileActionCopy(Message):
    """One ``cp``."""

    src: str = field(1)
    dest: str = field(2)
    dirCopyContents: bool = field(6)
    attemptUnpackDockerCompatibility: bool = field(7)
    include_patterns: list[str] = field(12)
    exclude_patterns: list[str] = field(13)


class FileAction(Message):
    """One change of files: of ``input``, with files of ``secondaryInput``.

    They count the vertex's inputs from 0; -1 is an empty tree.
    """

    input: int = field(1)
    secondaryInput: int = field(2)
    output: int = field(3)
    copy: FileActionCopy | None = field(4)


class FileOp(Message):
    """Changes of files, one after another."""

    actions: list[FileAction] = field(2)


class Op(Message):
    """A vertex; none of its kinds means the outcome."""

    inputs: list[Input] = field(1)
    source: SourceOp | None = field(3)
    file: FileOp | None = field(4)
