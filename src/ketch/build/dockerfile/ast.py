"""The Dockerfile as values.

Words are as written: variables are expanded by the solver, when their values are known. Every
instruction knows its ``range`` in the file and its ``text`` (continuations joined) for display.
"""

from __future__ import annotations

import msgspec

from ketch.build.dockerfile.lexer import Heredoc
from ketch.build.dockerfile.source import DockerfileError, LogicalLine, Position, Range, Source


class Comment(msgspec.Struct, frozen=True):
    """A trailing ``# …`` that Docker would have taken for arguments."""

    text: str
    range: Range


class Command(msgspec.Struct, frozen=True):
    """Exec form (``words`` as they are) or shell form (one string for the shell)."""

    words: tuple[str, ...]
    shell: bool


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """What all instructions have."""

    line: LogicalLine
    comment: Comment | None = None

    @property
    def text(self) -> str:
        """The logical line, for display."""
        return self.line.text.strip()

    @property
    def range(self) -> Range:
        """From the first character to the last, here-documents apart."""
        return self.line.range()

    @property
    def whole(self) -> Range:
        """The same with the here-documents."""
        found = self.range
        documents: tuple[Heredoc, ...] = getattr(self, "heredocs", ())
        lines = sum(document.content.count("\n") + 1 for document in documents)
        if not lines:
            return found
        return Range(found.start, Position(found.end.line + lines, 1))

    @property
    def name(self) -> str:
        """``RUN``, ``COPY``…"""
        return type(self).__name__.upper()

    def error(self, reason: str) -> DockerfileError:
        """An error about the whole instruction."""
        return self.line.error(reason)


class From(Instruction, frozen=True, kw_only=True):
    """``FROM [--platform=p] image [AS alias]``; ``alias`` is lower case or empty."""

    image: str
    platform: str = ""
    alias: str = ""


class Arg(Instruction, frozen=True, kw_only=True):
    """``ARG name[=default]…``; None = no default."""

    pairs: tuple[tuple[str, str | None], ...]


class Env(Instruction, frozen=True, kw_only=True):
    """``ENV key=value…``."""

    pairs: tuple[tuple[str, str], ...]


class Label(Instruction, frozen=True, kw_only=True):
    """``LABEL key=value…``; or ``given`` by the client."""

    pairs: tuple[tuple[str, str], ...]
    given: bool = False


class RunMount(msgspec.Struct, frozen=True, kw_only=True):
    """``--mount`` of a RUN; words as written, ``place`` where the flag stands.

    ``type`` is ``bind``, ``cache``, ``tmpfs``, ``secret`` or ``ssh``. ``writable`` None means the
    default of its type. ``sharing`` is ``shared``, ``private`` or ``locked``. ``env`` is the
    variable that gets a secret's value. ``pending`` are all keys and values where one that is no
    plain word holds a variable (``uid=$UID``); what they say is not in the other fields then, and
    ``type`` is empty if that is one of them. ``idle`` are keys that mean nothing for that type, and
    ``fault`` is why the mount can't be, which matters when its step is needed.
    """

    place: Range
    type: str = "bind"
    target: str = ""
    source: str = ""
    from_: str = ""
    writable: bool | None = None
    id: str = ""
    sharing: str = ""
    required: bool = False
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int = 0
    env: str = ""
    pending: tuple[tuple[str, str | None], ...] = ()
    idle: tuple[str, ...] = ()
    fault: DockerfileError | None = None


class Run(Instruction, frozen=True, kw_only=True):
    """``RUN``; ``network`` is ``default``, ``none``, ``host`` or empty; ``security`` is
    ``sandbox``, ``insecure`` or empty."""

    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    network: str = ""
    security: str = ""
    mounts: tuple[RunMount, ...] = ()


class Copy(Instruction, frozen=True, kw_only=True):
    """``COPY [--from] [--chown] [--chmod] [--link] [--parents] [--exclude]… source… destination``.

    A lone ``#`` word makes ``comment``; then ``with_comment`` holds all words, for the case that
    the context does have a file of that name.
    """

    sources: tuple[str, ...]
    destination: str
    from_: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()
    with_comment: tuple[str, ...] = ()


class Add(Copy, frozen=True, kw_only=True):
    """``ADD``: like COPY, but unpacks local archives and fetches URLs and git repositories; never
    ``--from``. ``unpack`` None: local archives are unpacked, downloaded ones are not."""

    checksum: str = ""
    keep_git_dir: bool = False
    unpack: bool | None = None


class Cmd(Instruction, frozen=True, kw_only=True):
    """``CMD``."""

    command: Command


class Entrypoint(Instruction, frozen=True, kw_only=True):
    """``ENTRYPOINT``."""

    command: Command


class Shell(Instruction, frozen=True, kw_only=True):
    """``SHELL ["executable", "parameters"]``."""

    words: tuple[str, ...]


class Expose(Instruction, frozen=True, kw_only=True):
    """``EXPOSE port[/protocol]…``."""

    ports: tuple[str, ...]


class Volume(Instruction, frozen=True, kw_only=True):
    """``VOLUME path…``."""

    paths: tuple[str, ...]


class User(Instruction, frozen=True, kw_only=True):
    """``USER name[:group]``."""

    user: str


class Workdir(Instruction, frozen=True, kw_only=True):
    """``WORKDIR path``."""

    path: str


class Stopsignal(Instruction, frozen=True, kw_only=True):
    """``STOPSIGNAL signal``."""

    signal: str


class Maintainer(Instruction, frozen=True, kw_only=True):
    """``MAINTAINER name`` (deprecated)."""

    author: str


class Healthcheck(Instruction, frozen=True, kw_only=True):
    """``HEALTHCHECK``; ``test`` is ``("NONE",)``, ``("CMD", …)`` or ``("CMD-SHELL", "…")``.

    Durations in nanoseconds, 0 = the default.
    """

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class Onbuild(Instruction, frozen=True, kw_only=True):
    """``ONBUILD instruction``; ``trigger`` is the instruction's text with its here-documents."""

    trigger: str


class Stage(msgspec.Struct, frozen=True):
    """A FROM and what follows it; ``index`` counts from 0."""

    index: int
    base: From
    steps: tuple[Instruction, ...]


class Dockerfile(msgspec.Struct, frozen=True):
    """A whole file; ``global_args`` are the ARGs before the first FROM."""

    source: Source
    escape: str
    directives: dict[str, str]
    global_args: tuple[Arg, ...]
    stages: tuple[Stage, ...]
