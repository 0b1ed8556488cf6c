"""The tree that a layer's entries describe, in memory: last one wins, parents are made.

Both ways to store a layer (an EROFS image, a directory) start from this tree, so they can't
disagree. No symbolic link of the archive is ever followed outside it, since following happens
here, among nodes.
"""

from __future__ import annotations

import stat

from ketch.errors import InvalidParameter, Unsupported
from ketch.layers import whiteouts
from ketch.layers.entry import Entry, Inode, shown
from ketch.layers.names import MAX_DEPTH, components

_MAX_LINKS = 40  # as in path_resolution(7)
_ACLS = (b"system.posix_acl_access", b"system.posix_acl_default")


class Node(Inode):
    """One inode. ``children`` is None for all but directories; ``opaque`` hides lower layers.

    ``links`` and ``nid`` are for whoever writes the tree out.
    """

    __slots__ = ("children", "links", "nid", "opaque")

    def __init__(self, mode: int) -> None:
        super().__init__(mode)
        self.children: dict[bytes, Node] | None = {} if stat.S_ISDIR(mode) else None
        self.links = 0
        self.nid = 0
        self.opaque = False


class Tree:
    """Grows by ``add``. ``size`` is the sum of the sizes of all files added.

    Without ``whiteouts`` a name that begins with ``.wh.`` is one like all others: what is read
    then is no layer but somebody's files.
    """

    def __init__(self, *, whiteouts: bool = True) -> None:
        self._whiteouts = whiteouts
        self.root = Node(stat.S_IFDIR | 0o755)
        self.size = 0
        self.entries = 0
        self._last: tuple[list[bytes], Node] = ([], self.root)

    def add(self, entry: Entry) -> None:
        """Take in the next entry of a layer tar.

        Raises ``InvalidParameter`` for entries that no tree can hold: names that lead out, links
        to what is not there, children of files.
        """
        parts = components(entry.name)
        kind = self._classify(parts, entry.name)
        if kind == whiteouts.SKIP:
            return
        self.entries += 1
        if not parts:
            self._set_root(entry)
            return
        parent = self._parent(parts, entry)
        if kind == whiteouts.WHITEOUT:
            self._whiteout(parent, parts[-1][len(whiteouts.PREFIX) :])
        elif kind == whiteouts.OPAQUE_MARK:
            self._make_opaque(parent)
        else:
            self._place(parent, parts[-1], entry)
            self.size += entry.size

    def find(self, path: bytes) -> Node | None:
        """What is at a path, links followed inside the tree; None when nothing is."""
        asked = Entry(path, stat.S_IFREG)
        try:
            *directory, name = components(path)
            node = _children(self._walk(directory, asked, make=False)).get(name)
            if node is not None and stat.S_ISLNK(node.mode):
                parts = [*directory, *node.link.split(b"/")]
                steps = node.link.split(b"/") if node.link.startswith(b"/") else parts
                kept = [step for step in steps if step not in (b"", b".")]
                parent = self._walk(kept[:-1], asked, make=False)
                node = _children(parent).get(kept[-1])
        except (InvalidParameter, ValueError, IndexError):
            return None
        return node

    def _classify(self, parts: list[bytes], name: bytes) -> int:
        return whiteouts.classify(parts, name) if self._whiteouts else whiteouts.REAL

    def _set_root(self, entry: Entry) -> None:
        if not entry.is_dir:
            raise InvalidParameter(f"entry {shown(entry.name)}: the root must be a directory")
        _describe(self.root, entry)

    def _make_opaque(self, node: Node) -> None:
        if node is self.root:
            raise Unsupported("a layer whose root is opaque (.wh..wh..opq at the top)")
        node.opaque = True

    def _whiteout(self, parent: Node, name: bytes) -> None:
        """Hide ``name`` of the layers below, but nothing of this one."""
        children = _children(parent)
        here = children.get(name)
        if here is None:
            children[name] = Node(stat.S_IFCHR)
        elif here.children is not None:
            here.opaque = True

    def _place(self, parent: Node, name: bytes, entry: Entry) -> None:
        children = _children(parent)
        here = children.get(name)
        if here is not None and here.children is not None and entry.is_dir:
            _describe(here, entry)
            return
        node = self._link_target(entry) if entry.hardlink else _new(entry)
        if here is not None:
            self._last = ([], self.root)  # maybe on the way to the cached directory
            node.opaque |= entry.is_dir and _is_whiteout(here)
        children[name] = node

    def _link_target(self, entry: Entry) -> Node:
        """The node that a hard link names; symbolic links in its directory are followed."""
        parts = components(entry.link)
        if not parts or self._classify(parts, entry.link) != whiteouts.REAL:
            raise InvalidParameter(
                f"entry {shown(entry.name)}: a hard link to {shown(entry.link)}, which is no file"
            )
        parent = self._walk(parts[:-1], entry, make=False)
        target = _children(parent).get(parts[-1])
        if target is None or target.children is not None or _is_whiteout(target):
            raise InvalidParameter(
                f"entry {shown(entry.name)}: a hard link to {shown(entry.link)}, "
                "which is no file of this archive"
            )
        return target

    def _parent(self, parts: list[bytes], entry: Entry) -> Node:
        directory = parts[:-1]
        if directory == self._last[0]:
            return self._last[1]
        node = self._walk(directory, entry, make=True)
        self._last = (directory, node)
        return node

    def _walk(self, parts: list[bytes], entry: Entry, *, make: bool) -> Node:
        """The directory at ``parts``, symbolic links followed inside the tree."""
        path = [self.root]
        todo = parts[::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                del path[max(1, len(path) - 1) :]
                continue
            child = self._child(path[-1], part, entry, make)
            if child.children is not None:
                path.append(child)
            else:
                links += 1
                if child.link.startswith(b"/"):
                    del path[1:]
                todo += [step for step in child.link.split(b"/")[::-1] if step not in (b"", b".")]
            if links > _MAX_LINKS or len(path) > MAX_DEPTH:
                raise InvalidParameter(f"entry {shown(entry.name)}: too many links in its path")
        return path[-1]

    def _child(self, parent: Node, name: bytes, entry: Entry, make: bool) -> Node:
        """A directory or symbolic link called ``name``, made as a directory if it may be."""
        children = _children(parent)
        child = children.get(name)
        if make and (child is None or _is_whiteout(child)):
            made = Node(stat.S_IFDIR | 0o755)
            made.opaque = child is not None
            children[name] = made
            return made
        if child is None or not (child.children is not None or stat.S_ISLNK(child.mode)):
            raise InvalidParameter(f"entry {shown(entry.name)}: {shown(name)} is not a directory")
        return child


def _children(node: Node) -> dict[bytes, Node]:
    assert node.children is not None
    return node.children


def _is_whiteout(node: Node) -> bool:
    return node.mode & 0o170000 == stat.S_IFCHR and node.rdev == (0, 0)


def _new(entry: Entry) -> Node:
    node = Node(entry.mode)
    _describe(node, entry)
    return node


def _describe(node: Node, entry: Entry) -> None:
    """Copy an entry's attributes, without the xattrs that no file of its type can have."""
    node.take(entry)
    if entry.xattrs:
        node.xattrs = storable(entry)


def storable(entry: Inode) -> dict[bytes, bytes]:
    """The xattrs of an archive's entry that a file may be given.

    Left out are overlayfs's own (they would let an archive redirect lookups), unknown namespaces
    (other systems' attributes) and ``user.`` on what is neither a file nor a directory (xattr(7)).
    """
    plain = stat.S_ISREG(entry.mode) or stat.S_ISDIR(entry.mode)
    return {
        name: value
        for name, value in entry.xattrs.items()
        if name in _ACLS
        or (name.startswith(b"user.") and plain and len(name) > 5)
        or (name.startswith((b"trusted.", b"security.")) and not name.endswith(b"."))
        if not whiteouts.is_overlay_xattr(name)
    }
