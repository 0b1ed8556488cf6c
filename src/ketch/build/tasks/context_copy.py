"""COPY from a context that a build's worker has in memory: checksums, and layers in one pass.

The worker that received a context has its tree, so what a COPY takes needs no mount of the context
and no second reading, and the layer no second worker. Whatever is out of the ordinary goes the way
of ``ketch.build.tasks.copy``, to which this comes to the same.
"""

from __future__ import annotations

import os
import stat
from typing import Any

from ketch.build.tasks import context_image
from ketch.build.tasks.copy import choice_of, destination_of, ownership_of, refuse_archives, taken
from ketch.layers.create import open_umask
from ketch.layers.entry import Entry
from ketch.layers.erofs import DATA_START, finish_image
from ketch.layers.image_writer import ImageWriter
from ketch.layers.layerwrite import LayerWriter, NotPlain
from ketch.layers.placing import LayerPlacing
from ketch.layers.scan import Scan, gc_off
from ketch.layers.tarwrite import TarWriter
from ketch.layers.tree import Tree
from ketch.layers.tree_sources import TreeSources, Unusual
from ketch.snapshots.erofs import ErofsSnapshotter

Args = dict[str, Any]
_MOST = 100_000  # entries of a tree that is kept
_EXAMPLES = 12
_PIECE = 1 << 20
_AT_HAND = 4 * _PIECE  # bytes that the waiting worker has in memory
_NOWHERE = "ketch-rehearsal"  # nothing is made there


class ContextsInMemory:
    """Those that one worker received, by the names of their images."""

    def __init__(self) -> None:
        self._known: dict[str, TreeSources] = {}

    def keep(self, image: str, tree: Tree, fd: int) -> None:
        """Keep a tree whose image is ``fd``, unless it is very large."""
        if tree.entries <= _MOST:
            self._known[image] = TreeSources(tree.root, os.dup(fd), DATA_START)

    def checksum(self, args: Args) -> Args | None:
        """``copy_tasks.checksum`` below the ``"image"``; None: it has to be mounted for that."""
        context = self._known.get(str(args.get("image")))
        if context is None or not args.get("follow", True):
            return None
        asked = taken(args), choice_of(args)
        try:
            with gc_off():
                digits = context.digest(*asked, owners=bool(args.get("owners")))
            paths = context.paths(*asked)
        except Unusual:
            return None
        kind = "multi"
        if len(paths) == 1:
            kind = "file" if paths[0][1].children is None else "dir"
        return {"digest": f"{kind}:{digits.removeprefix('sha256:')}"}

    def layer(self, args: Args, base: int) -> Args:
        """Store the layer that ``copy_tasks.layer`` would write for the tree at the fd ``base``.

        ``"image"`` is the context's, ``"root"`` and ``"scratch"`` are as in
        ``ketch.snapshots.tasks``. Answers ``{"entries", "diff_id", "plain"}``, without ``plain``
        nothing is stored.
        """
        context = self._known.get(str(args.get("image")))
        if context is None:
            return {"plain": False}
        store = ErofsSnapshotter(str(args["root"]))
        try:
            with gc_off(), open_umask():
                info = store.add_written(
                    lambda fd: _write(context, args, base, fd), str(args.get("scratch") or "")
                )
        except (Unusual, NotPlain):
            return {"plain": False}
        return {"entries": info.entries, "diff_id": info.diff_id, "plain": True}


def rehearse() -> None:
    """Receive a small context into memory, and do with it what is done with the next one.

    A process that was forked gets pages of its own as it writes to them (reference counts, above
    all, and CPython rewrites code as it runs): half of what a small context takes. One that waits
    does it beforehand.
    """
    _touch_memory()
    stream, image, layer = (os.memfd_create(name) for name in ("context", "image", "layer"))
    base = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        with os.fdopen(os.dup(stream), "wb") as out:
            _write_example(TarWriter(out))
        os.lseek(stream, 0, os.SEEK_SET)
        _, tree = context_image.receive(stream, image, "Dockerfile")
        context = TreeSources(tree.root, image, DATA_START)
        asked: Args = {"sources": ["."], "destination": f"/{_NOWHERE}/", "chown": [0, 0]}
        context.digest(taken(asked), choice_of(asked))
        os.lseek(layer, DATA_START, os.SEEK_SET)
        found = _write(context, asked, base, layer)
        finish_image(layer, found.tree, found.tar_size, bytes(16))
    finally:
        for fd in (stream, image, layer, base):
            os.close(fd)


def _touch_memory() -> None:
    """Have some memory at hand: the kernel gives each page of it at its first use, which takes as
    long as to fill it. glibc keeps what is freed if a larger piece was freed before (mallopt(3),
    M_MMAP_THRESHOLD)."""
    large = bytes(2 * _AT_HAND)  # of zeros, which nobody touches
    del large
    pieces = [b"x" * _PIECE for _ in range(_AT_HAND // _PIECE)]
    del pieces


def _write_example(writer: TarWriter) -> None:
    """As many entries as it takes until CPython has rewritten the code for them."""
    for name in (b"Dockerfile", *(b"d/%d" % number for number in range(_EXAMPLES))):
        writer.add(Entry(name, stat.S_IFREG | 0o644))
        writer.add(Entry(name + b".d", stat.S_IFDIR | 0o755))
    writer.finish()


def _write(context: TreeSources, args: Args, base: int, image: int) -> Scan:
    asked = taken(args), choice_of(args)
    writer = ImageWriter(image, context.fd)
    try:
        layer = LayerWriter(writer, base, ownership_of(args), args.get("newest"))
        placing = LayerPlacing(layer, base, destination_of(args), context.last_time(*asked))
        for entry, content in context.collect(*asked):
            refuse_archives(args, entry)
            placing.put(entry, content)
        return writer.finish()
    finally:
        writer.close()
