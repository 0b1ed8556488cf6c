"""Messages of BuildKit's build graphs, LLB (solver/pb/ops.proto). Fields that are not here are
refused by their numbers where they would mean something else to be done (``strict``)."""

from __future__ import annotations

from ketch.llb.exec_messages import Meta, MountMessage, SecretEnv
from ketch.protobuf import Message, field


class OpMetadata(Message):
    """What is told of a vertex besides what it does."""

    ignore_cache: bool = field(1)
    description: dict[str, str] = field(2)


class Definition(Message):
    """``pb.Definition``: vertices; the last one only names the outcome.

    ``metadata`` is by the digest of a vertex.
    """

    ops: list[bytes] = field(1)
    metadata: dict[str, OpMetadata] = field(2)


class Platform(Message, strict=True):
    """Of what a vertex runs or fetches."""

    Architecture: str = field(1)
    OS: str = field(2)
    Variant: str = field(3)
    OSVersion: str = field(4)
    OSFeatures: list[str] = field(5)


class WorkerConstraints(Message, strict=True):
    """Which workers may do it; there is only one."""

    filter: list[str] = field(1)


class Input(Message, strict=True):
    """Another vertex by its digest, and which of its outputs."""

    digest: str = field(1)
    index: int = field(2)


class SourceOp(Message, strict=True):
    """Something that comes from outside, by a URL-like name."""

    identifier: str = field(1)
    attrs: dict[str, str] = field(2)


class ExecOp(Message, strict=True):
    """A command."""

    meta: Meta | None = field(1)
    mounts: list[MountMessage] = field(2)
    network: int = field(3)
    security: int = field(4)
    secretenv: list[SecretEnv] = field(5)


class NamedUser(Message, strict=True):
    """A name to be looked up in the files of an input."""

    name: str = field(1)
    input: int = field(2)


class UserOpt(Message, strict=True):
    """A name or a number."""

    byName: NamedUser | None = field(1)
    byID: int = field(2)


class ChownOpt(Message, strict=True):
    """Whose files are to be."""

    user: UserOpt | None = field(1)
    group: UserOpt | None = field(2)


class FileActionCopy(Message, strict=True):
    """One ``cp``; ``mode`` -1 keeps the files', as ``timestamp`` (ns) does; ``modeStr`` is as
    chmod(1) has it."""

    src: str = field(1)
    dest: str = field(2)
    owner: ChownOpt | None = field(3)
    mode: int = field(4)
    followSymlink: bool = field(5)
    dirCopyContents: bool = field(6)
    attemptUnpackDockerCompatibility: bool = field(7)
    createDestPath: bool = field(8)
    allowWildcard: bool = field(9)
    allowEmptyWildcard: bool = field(10)
    timestamp: int = field(11)
    include_patterns: list[str] = field(12)
    exclude_patterns: list[str] = field(13)
    alwaysReplaceExistingDestPaths: bool = field(14)
    modeStr: str = field(15)


class FileActionMkFile(Message, strict=True):
    """A file with its content."""

    path: str = field(1)
    mode: int = field(2)
    data: bytes = field(3)
    owner: ChownOpt | None = field(4)
    timestamp: int = field(5)


class FileActionMkDir(Message, strict=True):
    """A directory."""

    path: str = field(1)
    mode: int = field(2)
    makeParents: bool = field(3)
    owner: ChownOpt | None = field(4)
    timestamp: int = field(5)


class FileActionRm(Message, strict=True):
    """Whatever is there goes."""

    path: str = field(1)
    allowNotFound: bool = field(2)
    allowWildcard: bool = field(3)


class FileActionSymlink(Message, strict=True):
    """A symbolic link ``newpath`` that says ``oldpath``."""

    oldpath: str = field(1)
    newpath: str = field(2)
    owner: ChownOpt | None = field(3)
    timestamp: int = field(4)


class FileAction(Message, strict=True):
    """One change of files: of ``input``, with files of ``secondaryInput``.

    They count the vertex's inputs from 0, then its actions; -1 is an empty tree. ``output`` -1 is
    none of the vertex's.
    """

    input: int = field(1)
    secondaryInput: int = field(2)
    output: int = field(3)
    copy: FileActionCopy | None = field(4)
    mkfile: FileActionMkFile | None = field(5)
    mkdir: FileActionMkDir | None = field(6)
    rm: FileActionRm | None = field(7)
    symlink: FileActionSymlink | None = field(8)


class FileOp(Message, strict=True):
    """Changes of files, one after another."""

    actions: list[FileAction] = field(2)


class MergeInput(Message, strict=True):
    """Which input."""

    input: int = field(1)


class MergeOp(Message, strict=True):
    """Trees on top of each other."""

    inputs: list[MergeInput] = field(1)


class DiffOp(Message, strict=True):
    """What the upper tree has changed of the lower one."""

    lower: MergeInput | None = field(1)
    upper: MergeInput | None = field(2)


class BuildOp(Message, strict=True):
    """A graph that lies in a file of an input."""

    builder: int = field(1)
    inputs: dict[str, MergeInput] = field(2)
    definition: Definition | None = field(3)
    attrs: dict[str, str] = field(4)


class Op(Message, strict=True):
    """A vertex; none of its kinds means the outcome."""

    inputs: list[Input] = field(1)
    exec: ExecOp | None = field(2)
    source: SourceOp | None = field(3)
    file: FileOp | None = field(4)
    build: BuildOp | None = field(5)
    merge: MergeOp | None = field(6)
    diff: DiffOp | None = field(7)
    platform: Platform | None = field(10)
    constraints: WorkerConstraints | None = field(11)
