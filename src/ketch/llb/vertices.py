"""What a checked build graph says: values without anything of the wire.

Numbers that count a vertex's inputs are places in its ``inputs``; -1 is an empty tree.
"""

from __future__ import annotations

import msgspec

EMPTY = -1
NO_OUTPUT = -1


class Edge(msgspec.Struct, frozen=True):
    """An output of a vertex."""

    vertex: str
    output: int


# sources


class ImageSource(msgspec.Struct, frozen=True, kw_only=True):
    """An image; ``pull`` asks the registry even if it is here, ``local`` asks no registry."""

    reference: str
    pull: bool = False


class LocalSource(msgspec.Struct, frozen=True, kw_only=True):
    """A directory of the client's, or some of it; ``session`` is another one's that offers it."""

    name: str
    session: str = ""
    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()


class GitSource(msgspec.Struct, frozen=True, kw_only=True):
    """A repository, as ``build.git_remote`` parses it; ``known_hosts`` is as ssh has it."""

    url: str
    checksum: str = ""
    keep_git_dir: bool = False
    known_hosts: str = ""


class HttpSource(msgspec.Struct, frozen=True, kw_only=True):
    """One file by a URL."""

    url: str
    filename: str
    checksum: str = ""
    mode: int = 0o600
    uid: int = 0
    gid: int = 0


class LayoutSource(msgspec.Struct, frozen=True, kw_only=True):
    """An image in a layout of the client's, ``oci-layout://STORE@DIGEST``."""

    value: str


class ResultSource(msgspec.Struct, frozen=True, kw_only=True):
    """What another build came to."""

    config: bytes
    layers: tuple[str, ...]


class FailureSource(msgspec.Struct, frozen=True, kw_only=True):
    """A result whose steps failed, by its name."""

    name: str


# commands


class ExecMount(msgspec.Struct, frozen=True, kw_only=True):
    """A mount of a command; ``type`` and the rest as in a Dockerfile's RUN. ``output`` is that of
    the vertex which holds what was written to it."""

    type: str
    target: str
    input: int = EMPTY
    output: int = NO_OUTPUT
    source: str = "/"
    writable: bool = True
    id: str = ""
    sharing: str = "shared"
    required: bool = False
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0


class Exec(msgspec.Struct, frozen=True, kw_only=True):
    """A command. ``proxies`` are variables that are no part of what it is; ``secrets`` are
    variables too: ID, name, whether it may be missing."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: str
    root: ExecMount
    mounts: tuple[ExecMount, ...] = ()
    proxies: tuple[str, ...] = ()
    secrets: tuple[tuple[str, str, bool], ...] = ()
    network: str = ""
    insecure: bool = False
    hostname: str = ""
    hosts: tuple[str, ...] = ()
    ulimits: tuple[tuple[str, int, int], ...] = ()
    cgroup_parent: str = ""
    exit_codes: tuple[int, ...] = (0,)

    @property
    def outputs(self) -> dict[int, ExecMount]:
        """Mounts by the output that they are."""
        found = (self.root, *self.mounts)
        return {mount.output: mount for mount in found if mount.output != NO_OUTPUT}


# files


class User(msgspec.Struct, frozen=True):
    """A number, or a name to be looked up in the files of an input."""

    id: int = 0
    name: str = ""
    input: int = EMPTY


class Owner(msgspec.Struct, frozen=True):
    """Of files that are made or copied."""

    user: User | None = None
    group: User | None = None


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """Files of another tree. ``mode`` is as chmod(1) has it, "" keeps the files'; ``time`` (ns)
    None keeps theirs. ``contents``: of a directory only what is in it. ``replace``: what is of
    another kind is replaced, not refused."""

    source: str
    destination: str
    wildcard: bool = False
    may_be_empty: bool = False
    follow: bool = False
    contents: bool = False
    unpack: bool = False
    make_parents: bool = False
    replace: bool = False
    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    mode: str = ""
    time: int | None = None
    owner: Owner | None = None


class MakeFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file with its content."""

    path: str
    mode: int
    data: bytes
    time: int | None = None
    owner: Owner | None = None


class MakeDirectory(msgspec.Struct, frozen=True, kw_only=True):
    """A directory; no error if there is one."""

    path: str
    mode: int
    parents: bool
    time: int | None = None
    owner: Owner | None = None


class MakeLink(msgspec.Struct, frozen=True, kw_only=True):
    """A symbolic link."""

    path: str
    target: str
    time: int | None = None
    owner: Owner | None = None


class Remove(msgspec.Struct, frozen=True, kw_only=True):
    """Whatever is there goes, directories with all that is in them."""

    path: str
    may_be_missing: bool
    wildcard: bool


Change = Copy | MakeFile | MakeDirectory | MakeLink | Remove


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the tree ``input``, with files of the tree ``files``. Both count the inputs of
    the vertex, then its actions."""

    change: Change
    input: int
    files: int = EMPTY
    output: int = NO_OUTPUT


class Files(msgspec.Struct, frozen=True):
    """Changes, each of which may go on from an earlier one."""

    actions: tuple[Action, ...]


# trees


class Merge(msgspec.Struct, frozen=True):
    """Trees on top of each other, by the places of the inputs."""

    inputs: tuple[int, ...]


class Diff(msgspec.Struct, frozen=True):
    """What ``upper`` has changed of ``lower``."""

    lower: int
    upper: int


class Build(msgspec.Struct, frozen=True):
    """A graph that lies in the file ``path`` of an input."""

    input: int
    path: str


Source = (
    ImageSource | LocalSource | GitSource | HttpSource | LayoutSource | ResultSource | FailureSource
)
Work = Source | Exec | Files | Merge | Diff | Build


class Vertex(msgspec.Struct, frozen=True, kw_only=True):
    """One of a graph. ``name`` is what clients show; ``fresh``: nothing is taken from the cache;
    ``platform`` "" is this machine's; ``outputs`` counts what edges may name."""

    digest: str
    work: Work
    inputs: tuple[Edge, ...]
    name: str
    platform: str = ""
    fresh: bool = False
    outputs: frozenset[int] = frozenset((0,))


class Graph(msgspec.Struct, frozen=True):
    """Vertices, each after those that it needs, and the outcome; None is an empty tree."""

    vertices: tuple[Vertex, ...]
    outcome: Edge | None
