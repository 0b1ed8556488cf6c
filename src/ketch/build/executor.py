"""The protocol between the solver and whoever executes its steps.

Glossary
    *layer*: a stored layer by its diff ID; ``""`` means that a step changed nothing.
    *tree*: something that COPY and ADD can take files from.
    *cache entry*: the outcome of a step under its content-based key.

Life cycle of one build: ``base`` for each FROM; per step ``outcome``, which on a miss calls back
for ``run``, ``copy`` or ``make_directory``; ``commit`` and ``tag`` at the end. Methods are called
for several stages at once. Every method may be cancelled: the step is killed and leaves nothing.

The solver never sees a path of the host: trees are handles that only their executor can read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from ketch.build.progress.events import Report
from ketch.build.request.options import BuildLimits, ImageInput


class BaseImage(msgspec.Struct, frozen=True):
    """An image to build on: its ID, its configuration blob, its layers (base first)."""

    id: str
    config: bytes
    layers: tuple[str, ...]


class Tree(msgspec.Struct, frozen=True):
    """Where files come from: ``context``, ``layers`` (a stage or an image), or ``fetched``.

    ``handle`` is the executor's own name of a fetched tree; ``name`` that of a context, empty for
    the build's own.
    """

    kind: str
    layers: tuple[str, ...] = ()
    handle: str = ""
    name: str = ""


class CacheEntry(msgspec.Struct, frozen=True):
    """A step's outcome: its layer (or ``""``) and when it was made (RFC 3339)."""

    layer: str
    created: str


MakeEntry = Callable[[], Awaitable[CacheEntry]]


class StepMount(msgspec.Struct, frozen=True, kw_only=True):
    """``--mount`` of one RUN, ready to be made.

    ``type`` and the rest as in ``ast.RunMount``, all words expanded and defaults filled in.
    ``tree`` and ``source`` are what a bind shows and what a new cache begins with; without a tree
    a cache begins empty. ``base`` tells caches of one ``id`` apart that begin with different
    files. ``number`` tells the ssh mounts of a step apart. ``output``: what is written to a bind is
    an outcome of the step.
    """

    type: str
    target: str
    tree: Tree | None = None
    source: str = "/"
    writable: bool = False
    id: str = ""
    base: str = ""
    sharing: str = "shared"
    required: bool = False
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    env: str = ""
    number: int = 0
    output: bool = False


class RunStep(msgspec.Struct, frozen=True, kw_only=True):
    """One RUN. ``env`` is complete but for what mounts add; ``script`` is the text of a
    here-document with a ``#!`` line, to be put at ``script_path`` while the step runs; ``platform``
    is that of its programs ("" = this machine's); ``hostname`` "" is one of the executor's; with
    ``renew`` its cache mounts begin anew, once in a build. ``read_only`` is about its root;
    ``exit_codes`` are those that are no failure."""

    layers: tuple[str, ...]
    argv: tuple[str, ...]
    env: tuple[str, ...]
    user: str
    working_dir: str
    network: str
    limits: BuildLimits
    extra_hosts: tuple[str, ...] = ()
    script: str = ""
    script_path: str = ""
    hostname: str = ""
    insecure: bool = False
    platform: str = ""
    mounts: tuple[StepMount, ...] = ()
    renew: bool = False
    read_only: bool = False
    exit_codes: tuple[int, ...] = (0,)


class RunOutcome(msgspec.Struct, frozen=True):
    """How a RUN ended; ``layer`` is ``""`` when it changed nothing or failed. ``outputs`` are the
    layers of mounts that are outcomes, by their targets.

    What a failed one changed is kept until the build is over; ``kept`` is the executor's name for
    it. ``oom``: the kernel killed something of it for memory.
    """

    exit_code: int
    layer: str
    kept: str = ""
    oom: bool = False
    outputs: dict[str, str] = {}


class CopyPart(msgspec.Struct, frozen=True):
    """Files of one tree: ``sources`` are globs relative to the tree's root.

    ``extract`` unpacks what is an archive; ``parents`` keeps the directories that a source is in
    (below a ``/./`` in it, if there is one); ``excludes`` are patterns as in ``.dockerignore``.
    ``owners``: files keep theirs, which then count for the checksum. Without ``follow`` a source
    that is a link is taken as one.
    """

    tree: Tree
    sources: tuple[str, ...]
    extract: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    owners: bool = False
    follow: bool = True


class CopyStep(msgspec.Struct, frozen=True, kw_only=True):
    """One COPY or ADD. ``destination`` is absolute; a closing ``/`` says that it is a directory.

    ``owner`` is ``user:group`` of the image, names or numbers; empty means root, or what a part's
    files or an unpacked archive say. ``mode`` is octal or symbolic as chmod(1) reads it; empty
    keeps the files'. With ``link`` the layer holds nothing of the layers below, which only know
    the owner.
    """

    layers: tuple[str, ...]
    parts: tuple[CopyPart, ...]
    destination: str
    owner: str = ""
    mode: str = ""
    link: bool = False


class Executor(Protocol):
    """See the module's docstring. Raises the categories of ``ketch.errors``."""

    async def base(self, reference: str, platform: str, *, pull: bool, report: Report) -> BaseImage:
        """The image of a FROM or a ``COPY --from``; pulled when missing or when ``pull`` is set."""
        ...

    async def of_layout(self, value: str, platform: str, report: Report) -> BaseImage:
        """The image in a layout of the client's, ``oci-layout://…``."""
        ...

    def of_input(self, image: ImageInput) -> BaseImage:
        """What another build came to; raises ``NotFound`` when its layers are gone."""
        ...

    def mounted(self, mounts: tuple[StepMount, ...]) -> None:
        """A step of the build has these mounts, whether it is done or taken from the cache."""
        ...

    async def outcome(
        self, key: str, make: MakeEntry, *, reuse: bool, report: Report
    ) -> tuple[CacheEntry, bool]:
        """What a step comes to under its key, and whether it was there already. ``report`` is its
        vertex, whose name is remembered with it.

        On a miss ``make`` is awaited and its outcome kept. With ``reuse``, a step that another
        build is at already is waited for instead of being done twice, and what it writes is told
        here too; without it, nothing that was there before is taken.
        """
        ...

    async def run(
        self, step: RunStep, started: Callable[[str], None], report: Report
    ) -> RunOutcome:
        """Run a command; ``started`` is told the container's ID before any output."""
        ...

    async def exists(self, tree: Tree, path: str) -> bool:
        """Whether a tree has a file of exactly that name."""
        ...

    async def directories(self, layers: tuple[str, ...], path: str) -> list[tuple[int, int, int]]:
        """Permissions, owner and group of the directories that ``layers`` have on the way to an
        absolute path, itself included; a link ends it."""
        ...

    async def checksum(self, part: CopyPart) -> str:
        """Digest of what ``copy`` would take: names, contents, modes; not times, nor owners that
        ``copy`` sets. Its form is ``file:<hex>``, ``dir:<hex>`` or, when there are several
        sources, ``multi:<hex>``.

        Raises ``NotFound`` for a path that is not there: ``stat x: file does not exist``. A pattern
        that matches nothing takes nothing.
        """
        ...

    async def copy(self, step: CopyStep) -> str:
        """Copy into a new layer."""
        ...

    async def make_directory(self, layers: tuple[str, ...], path: str, owner: str = "") -> str:
        """A layer with the directory ``path`` (0755); ``""`` when it is there. It and those on the
        way to it belong to ``owner``, ``user[:group]`` of the image; to root without one, or when
        the image does not know it."""
        ...

    async def inline(self, files: tuple[tuple[str, bytes], ...]) -> Tree:
        """A tree of files given as bytes (mode 0644)."""
        ...

    async def fetch(self, url: str, name: str, checksum: str) -> Tree:
        """A tree of one file ``name`` from an http or https URL (mode 0600).

        Raises ``InvalidParameter`` when its digest is not ``checksum`` (empty: any).
        """
        ...

    async def clone(self, url: str, checksum: str, *, keep_git_dir: bool, report: Report) -> Tree:
        """A tree of a commit of a git repository, ``url#ref:subdirectory``."""
        ...

    async def unpacked(self, url: str, report: Report) -> Tree:
        """The tree of a git repository or of an archive (or lone Dockerfile) at a URL."""
        ...

    async def secret(self, id: str) -> bytes | None:
        """A secret that the client offers; None when it has none of that name."""
        ...

    async def has_agent(self, id: str) -> bool:
        """Whether the client offers an SSH agent of that name."""
        ...

    async def commit(
        self, config: bytes, layers: tuple[str, ...], parent: str, tags: tuple[str, ...] = ()
    ) -> str:
        """Store an image and give it names; returns its ID."""
        ...
