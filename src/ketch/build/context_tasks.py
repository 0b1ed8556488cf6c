"""COPY from a context that a build's worker has in memory: checksums, and layers in one pass.

The worker that received a context has its tree, so what a COPY takes needs no mount of the context
and no second reading, and the layer no second worker. Whatever is out of the ordinary goes the way
of ``ketch.build.copy_tasks``, to which this comes to the same.
"""

from __future__ import annotations

import os
from typing import Any

from ketch.build.copy_tasks import choice_of, destination_of, ownership_of, refuse_archives, taken
from ketch.layers.create import open_umask
from ketch.layers.erofs import DATA_START
from ketch.layers.image_writer import ImageWriter
from ketch.layers.layerwrite import LayerWriter, NotPlain
from ketch.layers.placing import LayerPlacing
from ketch.layers.scan import Scan, gc_off
from ketch.layers.tree import Tree
from ketch.layers.tree_sources import TreeSources, Unusual
from ketch.snapshots.erofs import ErofsSnapshotter

Args = dict[str, Any]
_MOST = 100_000  # entries of a tree that is kept


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
        if context is None:
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
