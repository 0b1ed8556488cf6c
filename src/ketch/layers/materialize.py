"""A layer's tree becomes a fresh directory, in the form that overlayfs takes as a lower layer."""

from __future__ import annotations

import os
from collections.abc import Callable

from ketch.layers import whiteouts
from ketch.layers.create import OPEN_DIR, create, finish_directory, open_umask, set_mtime
from ketch.layers.tree import Node, Tree

_Frame = tuple[Node, int, list[tuple[bytes, Node]], bytes]


def materialize(tree: Tree, root_fd: int, tar_fd: int, at: int = 0) -> None:
    """Write the tree into the empty directory ``root_fd``, taking content from the tar file.

    The tar begins at the offset ``at`` of ``tar_fd``.
    Only directories made here are walked, so no link is ever followed. Syncs nothing.
    """
    first_paths: dict[int, bytes] = {}
    stack = [_frame(tree.root, os.dup(root_fd), b"")]
    with open_umask():
        try:
            while stack:
                _step(stack, first_paths, root_fd, (tar_fd, at))
        finally:
            for _, fd, _, _ in stack:
                os.close(fd)


def _frame(node: Node, fd: int, path: bytes) -> _Frame:
    assert node.children is not None
    return node, fd, sorted(node.children.items(), reverse=True), path


def _step(stack: list[_Frame], first: dict[int, bytes], root_fd: int, tar: tuple[int, int]) -> None:
    """Make the next child of the deepest open directory, or finish that directory."""
    node, fd, todo, path = stack[-1]
    if not todo:
        stack.pop()
        _finish(node, fd, path)
        return
    name, child = todo.pop()
    if child.children is None and id(child) in first:
        os.link(first[id(child)], name, src_dir_fd=root_fd, dst_dir_fd=fd, follow_symlinks=False)
        return
    create(fd, name, child, _content(tar, child))
    if child.children is None:
        first[id(child)] = path + name
    else:
        stack.append(_frame(child, os.open(name, OPEN_DIR, dir_fd=fd), path + name + b"/"))


def _finish(node: Node, fd: int, path: bytes) -> None:
    try:
        finish_directory(fd, path, node)
        if node.opaque:
            os.setxattr(fd, whiteouts.OPAQUE_XATTR, b"y")
        set_mtime(fd, node.mtime)
    finally:
        os.close(fd)


def _content(tar: tuple[int, int], node: Node) -> Callable[[int], object]:
    tar_fd, at = tar

    def fill(fd: int) -> None:
        offset, left = at + node.offset, node.size
        while left:
            sent = os.sendfile(fd, tar_fd, offset, min(left, 1 << 30))
            if not sent:
                raise EOFError("the tar file ends early")
            offset += sent
            left -= sent

    return fill
