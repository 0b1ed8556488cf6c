"""Worker functions on a container's tree; each runs pivoted into it: ``/`` is the tree.

All have the signature ``(args, fds) -> dict`` of the launcher's ``work`` operation, and raise
``NotFound``, ``InvalidParameter``, ``Conflict`` or OSError. Paths in ``args`` are text of the
container (surrogateescape for bytes that are not UTF-8), relative ones start at ``/``.
"""

from __future__ import annotations

Args = dict[str, object]


def stat(args: Args, fds: list[int]) -> Args:
    """``{"path"}`` → ``{"name", "size", "mode", "mtime", "link_target"}`` (``PathStat``)."""
    raise NotImplementedError


def get(args: Args, fds: list[int]) -> Args:
    """``{"path"}``, fds ``[out]``: the path as an uncompressed tar, root entry named by the base
    name (``./`` for a path that ends in ``/.``) → ``{"stat": …}``."""
    raise NotImplementedError


def put(args: Args, fds: list[int]) -> Args:
    """``{"path", "no_overwrite_dir_non_dir": bool, "chown": [uid, gid] or None}``, fds ``[in]``:
    unpack a tar (compressed or not) into the directory ``path`` → ``{"entries"}``."""
    raise NotImplementedError


def export(args: Args, fds: list[int]) -> Args:
    """``{}``, fds ``[out]``: the whole tree as an uncompressed tar → ``{"entries"}``."""
    raise NotImplementedError


def copy_up(args: Args, fds: list[int]) -> Args:
    """``{"path"}``, fds ``[volume]`` (a directory): copy what the image holds at ``path`` into the
    volume if that is empty, and the directory's owner and mode → ``{"entries"}``."""
    raise NotImplementedError


def copy(args: Args, fds: list[int]) -> Args:
    """COPY and ADD from a directory. fds ``[source root]`` (a directory).

    ``{"sources": [glob…], "destination", "chown": [uid, gid] or None (keep), "chmod": int or None,
    "extract": bool (ADD: unpack local archives), "workdir": "/"}`` → ``{"entries"}``.
    """
    raise NotImplementedError


def copy_out(args: Args, fds: list[int]) -> Args:
    """First half of COPY --from, in the source's tree: ``{"sources"}``, fds ``[out]``: writes a
    stream that ``copy_in`` reads → ``{"entries"}``."""
    raise NotImplementedError


def copy_in(args: Args, fds: list[int]) -> Args:
    """Second half of COPY --from, in the destination's tree: the args of ``copy`` but
    ``sources``, fds ``[in]`` → ``{"entries"}``."""
    raise NotImplementedError


def checksum(args: Args, fds: list[int]) -> Args:
    """Content hash of what ``copy`` would take: ``{"sources"}``, fds ``[source root]`` →
    ``{"digest": "sha256:…"}``; names, modes, owners, link targets and contents count, times don't.
    """
    raise NotImplementedError


def changes(args: Args, fds: list[int]) -> Args:
    """``{}``, fds ``[upper directory]``, run in the tree of the layers below (``view``) →
    ``{"changes": [[path, kind]…]}``, kind as ``docker diff``."""
    raise NotImplementedError
