"""Worker functions of COPY and ADD; those with a destination run pivoted into its tree.

Signature ``(args, fds) -> dict`` of the launcher's ``work`` operation. What is taken is described
by ``"sources"`` (globs), ``"parents"`` (keep the directories they are in), ``"excludes"`` (patterns
as in ``.dockerignore``) and ``"follow"`` (a source that is a link stands for what it leads to).
Sources and destinations are somebody else's: every path is looked up inside its own root.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Any

from ketch.build.contexts.ignore import IgnoreRules
from ketch.errors import InvalidParameter
from ketch.layers import sources
from ketch.layers.archive import copier, in_root, owner_of
from ketch.layers.entry import Entry
from ketch.layers.globs import BadPattern
from ketch.layers.layerwrite import LayerWriter, NotPlain
from ketch.layers.modes import made_mode, mode_change
from ketch.layers.placing import LayerPlacing, Placing
from ketch.layers.tarwrite import TarWriter
from ketch.layers.unpack import Ownership
from ketch.linux.paths import open_in_root

Args = dict[str, Any]


def copy(args: Args, fds: list[int]) -> Args:
    """Into the tree. fds ``[source root]`` (a directory).

    ``{"destination": absolute path, a trailing slash counts, "chown": [uid, gid] or None (keep),
    "chmod": text as chmod(1) reads it or "", "extract": bool (unpack archives), "archive_chown":
    [uid, gid] or None (as the archive says), "several": bool (others are copied there too)}`` →
    ``{"entries"}``.
    """

    def run(root_fd: int) -> Args:
        placing = _placing(root_fd, args)
        for entry, fd in sources.collect(fds[0], taken(args), choice_of(args)):
            placing.put(entry, copier(fd, entry.size), fd)
        placing.finish()
        return {"entries": placing.entries}

    return in_root(run)


def layer(args: Args, fds: list[int]) -> Args:
    """The quick way, which changes nothing: fds ``[source root, out]``, the tar of the layer that
    ``copy`` would come to → ``{"entries", "plain"}``. ``"newest"`` is as in ``LayerWriter``.
    Without ``plain`` the tar is not whole, and it must be ``copy``."""

    def run(root_fd: int) -> Args:
        with os.fdopen(os.dup(fds[1]), "wb", 1 << 20) as out:
            writer = TarWriter(out)
            target = LayerWriter(writer, root_fd, ownership_of(args), args.get("newest"))
            asked = fds[0], taken(args), choice_of(args)
            time = sources.last_time(*asked)
            placing = LayerPlacing(target, root_fd, destination_of(args), time)
            try:
                for entry, fd in sources.collect(*asked):
                    refuse_archives(args, entry)
                    placing.put(entry, fd)
            except NotPlain:
                return {"entries": 0, "plain": False}
            writer.finish()
        return {"entries": writer.entries, "plain": True}

    return in_root(run)


def checksum(args: Args, fds: list[int]) -> Args:
    """Of what a copy would take below fds ``[directory]`` or in an image's tree → ``{"digest"}``.

    See ``Executor.checksum`` for its form and errors. With ``"partial"`` the directory shows some
    of another; the answer is ``{"partial": True}`` alone where that may not be enough: clients
    follow the links that paths name, but neither those behind a wildcard nor, for a second path,
    those that another one led through.
    """
    root_fd = fds[0] if fds else os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    patterns, choice = taken(args), choice_of(args)
    if args.get("partial") and sources.passes_links(root_fd, patterns, choice):
        return {"partial": True}
    paths = sources.expand(root_fd, patterns, choice)
    owners = bool(args.get("owners"))
    digits = sources.digest(root_fd, patterns, choice, owners=owners).removeprefix("sha256:")
    kind = "multi"
    if len(paths) == 1:
        fd = open_in_root(root_fd, paths[0])
        kind = "dir" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"
        os.close(fd)
    return {"digest": f"{kind}:{digits}"}


def refuse_archives(args: Args, entry: Entry) -> None:
    """A source that is a file may be one to be unpacked."""
    if args.get("extract") and entry.name.startswith(b"f") and entry.is_file:
        raise NotPlain


def _placing(root_fd: int, args: Args) -> Placing:
    return Placing(
        root_fd,
        destination_of(args),
        ownership_of(args),
        extract=bool(args.get("extract")),
        archive_chown=owner_of(args, "archive_chown"),
        several=bool(args.get("several")),
    )


def destination_of(args: Args) -> str:
    """Where it goes."""
    return "/" + str(args["destination"]).lstrip("/")


def ownership_of(args: Args) -> Ownership:
    """What is changed about it."""
    chmod = str(args.get("chmod") or "")
    if not chmod:
        return Ownership(owner_of(args, "chown"))
    return Ownership(owner_of(args, "chown"), mode_change(chmod), made_mode(chmod))


def taken(args: Args) -> list[str]:
    """The patterns of sources."""
    given = args.get("sources")
    if not isinstance(given, list) or not given:
        raise InvalidParameter("no source files were given")
    return [str(source) for source in given]


def choice_of(args: Args) -> sources.Choice:
    """How they are taken; raises ``InvalidParameter``."""
    patterns = [str(pattern) for pattern in args.get("excludes") or ()]
    try:
        rules = IgnoreRules(pattern.strip("/") for pattern in patterns) if patterns else None
    except (BadPattern, re.error) as error:
        raise InvalidParameter(f"--exclude: {error}") from None
    return sources.Choice(bool(args.get("parents")), rules, bool(args.get("follow", True)))
