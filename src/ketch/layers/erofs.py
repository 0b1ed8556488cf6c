"""A tar stream becomes an EROFS image in one pass, the tar itself being the data area.

The file is ``[4 KiB: superblock at 1024][the raw tar][inodes][large directories]`` with blocks of
512 bytes, tar's own unit: file content stays where it is inside the tar and inodes point at it.
Everything is uncompressed, so any kernel that knows 512-byte blocks (Linux 6.4) can mount it.

Sources: Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h of Linux (on-disk format).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from struct import Struct

from ketch.errors import InvalidParameter
from ketch.layers import whiteouts
from ketch.layers.streams import write_all
from ketch.layers.tree import Node, Tree

DATA_START = 4096
"""Where the tar begins in the image."""
BLOCK = 512
_BLOCK_BITS = 9
_MAGIC = 0xE0F5E1E2
_SUPER_OFFSET = 1024
_FEATURE_MTIME = 0x2
_SLOT = 32  # unit of inode numbers
_PLAIN, _INLINE = 0x1, 0x5  # extended inode | data layout << 1
_MAX_BLOCKS = 2**32

_SUPER = Struct("<IIIBBHQQIIII16s16sI44x")
_INODE = Struct("<HHHHQIIIIQIIQQ")
_INODE_SIZE = 64
_XATTR_HEADER = Struct("<IB7x")
_XATTR = Struct("<BBH")
_DIRENT = Struct("<QHBB")

_XATTR_PREFIXES = (
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
)
_FILE_TYPES = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFCHR: 3,
    stat.S_IFBLK: 4,
    stat.S_IFIFO: 5,
    stat.S_IFLNK: 7,
}


def finish_image(fd: int, tree: Tree, tar_size: int, uuid: bytes) -> None:
    """Complete an image whose tar is already at ``DATA_START``: metadata, then the superblock.

    ``fd`` is writable and may stand anywhere; ``uuid`` has 16 bytes. Does not sync. Raises
    ``InvalidParameter`` for more than 2 TiB.
    """
    meta_start = DATA_START + _round_up(tar_size, BLOCK)
    plan = _Plan(tree.root)
    end = meta_start + plan.inodes_size + plan.payload_size
    if end // BLOCK >= _MAX_BLOCKS:
        raise InvalidParameter("a layer of more than 2 TiB")
    os.lseek(fd, meta_start, os.SEEK_SET)
    first_payload = (meta_start + plan.inodes_size) // BLOCK
    _write_pieces(fd, _inodes(plan, first_payload))
    _write_pieces(fd, _payloads(plan))
    superblock = _SUPER.pack(
        _MAGIC, 0, _FEATURE_MTIME, _BLOCK_BITS, 0, tree.root.nid, len(plan.nodes), 0, 0,
        end // BLOCK, meta_start // BLOCK, 0, uuid, b"", 0,
    )  # fmt: skip
    os.pwrite(fd, bytes(_SUPER_OFFSET) + superblock, 0)
    os.ftruncate(fd, end)


class _Plan:
    """Where everything goes: gives each inode its number and counts its links.

    An inode's tail (link target or directory) follows it when both fit one block, else it has
    blocks of its own behind all inodes. No inode and no tail crosses a block.
    """

    def __init__(self, root: Node) -> None:
        self.nodes: list[Node] = []
        self.parents: dict[int, Node] = {}
        self.payload_size = 0
        self._at = 2 * _SLOT  # 0 would be no inode number
        for node, parent in _walk(root):
            self._add(node, parent)
        self.inodes_size = _round_up(self._at, BLOCK)

    def _add(self, node: Node, parent: Node) -> None:
        size = _INODE_SIZE + _xattrs_size(node)
        tail = _tail_size(node)
        if is_inline(size, tail):
            size += tail
        elif tail:
            self.payload_size += _round_up(tail, BLOCK)
        room = BLOCK - self._at % BLOCK
        if room < min(size, BLOCK) if size <= BLOCK else room < _INODE_SIZE:
            self._at += room
        node.nid = self._at // _SLOT
        self._at += _round_up(size, _SLOT)
        self.nodes.append(node)
        if node.children is not None:
            self.parents[node.nid] = parent


def is_inline(head: int, tail: int) -> bool:
    """Whether a tail is stored behind its inode."""
    return tail > 0 and head + tail <= BLOCK


def _walk(root: Node) -> Iterator[tuple[Node, Node]]:
    """Every inode once, with its parent, directories before what is in them; sorts children."""
    stack = [(root, root)]
    root.links = 1
    while stack:
        node, parent = stack.pop()
        yield node, parent
        if node.children is None:
            continue
        node.children = dict(sorted(node.children.items()))
        node.links += 1
        for child in reversed(node.children.values()):
            child.links += 1
            if child.children is not None:
                node.links += 1
            if child.links == 1:
                stack.append((child, node))


def _inodes(plan: _Plan, first_payload: int) -> Iterator[bytes]:
    """The inode area, piece by piece, padded."""
    at = 0
    payload = first_payload
    for number, node in enumerate(plan.nodes, 1):
        yield bytes(node.nid * _SLOT - at)
        xattrs = _xattrs(node)
        head = _INODE_SIZE + len(xattrs)
        tail = _tail_size(node)
        inline = is_inline(head, tail)
        yield _inode(node, number, len(xattrs), payload if tail and not inline else -1, tail)
        yield xattrs
        at = node.nid * _SLOT + head
        if inline:
            yield _tail(node, plan)
            at += tail
        else:
            payload += _round_up(tail, BLOCK) // BLOCK
    yield bytes(plan.inodes_size - at)


def _payloads(plan: _Plan) -> Iterator[bytes]:
    """The tails that are not inline, in the order of their inodes, each padded to blocks."""
    for node in plan.nodes:
        tail = _tail_size(node)
        if tail and not is_inline(_INODE_SIZE + _xattrs_size(node), tail):
            yield _tail(node, plan)
            yield bytes(-tail % BLOCK)


def _inode(node: Node, number: int, xattrs: int, payload: int, tail: int) -> bytes:
    kind = node.mode & 0o170000
    size, place = tail, max(payload, 0)
    if kind == stat.S_IFREG:
        size = node.size
        place = (DATA_START + node.offset) // BLOCK if size else 0
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        major, minor = node.rdev
        place = minor & 0xFF | major << 8 | (minor & ~0xFF) << 12
    layout = _INLINE if tail and payload < 0 else _PLAIN
    seconds, nanoseconds = divmod(node.mtime, 1_000_000_000)
    icount = (xattrs - 12) // 4 + 1 if xattrs else 0
    return _INODE.pack(
        layout, icount, node.mode, 0, size, place, number, node.uid, node.gid,
        seconds & 0xFFFFFFFFFFFFFFFF, nanoseconds, node.links, 0, 0,
    )  # fmt: skip


def _tail_size(node: Node) -> int:
    if node.children is None:
        return len(node.link)
    return directory_size([b".", b"..", *node.children])


def _tail(node: Node, plan: _Plan) -> bytes:
    if node.children is None:
        return node.link
    entries = {b".": node, b"..": plan.parents[node.nid], **node.children}
    return _directory(sorted(entries.items()))


def directory_size(names: list[bytes]) -> int:
    """Bytes of a directory with these names: full blocks but for the last."""
    blocks = used = 0
    for name in sorted(names):
        need = _DIRENT.size + len(name)
        if used + need > BLOCK:
            blocks += 1
            used = 0
        used += need
    return blocks * BLOCK + used


def _directory(entries: list[tuple[bytes, Node]]) -> bytes:
    """Directory blocks: in each, the entries first, then their names; sorted by name."""
    blocks: list[list[tuple[bytes, Node]]] = [[]]
    used = 0
    for name, node in entries:
        need = _DIRENT.size + len(name)
        if used + need > BLOCK:
            blocks.append([])
            used = 0
        used += need
        blocks[-1].append((name, node))
    packed = [_directory_block(block) for block in blocks]
    return b"".join([block.ljust(BLOCK, b"\0") for block in packed[:-1]] + packed[-1:])


def _directory_block(entries: list[tuple[bytes, Node]]) -> bytes:
    name_at = _DIRENT.size * len(entries)
    heads = []
    for name, node in entries:
        heads.append(_DIRENT.pack(node.nid, name_at, _FILE_TYPES[node.mode & 0o170000], 0))
        name_at += len(name)
    return b"".join(heads) + b"".join(name for name, _ in entries)


def _xattrs_size(node: Node) -> int:
    return len(_xattrs(node)) if node.xattrs or node.opaque else 0


def _xattrs(node: Node) -> bytes:
    """The inline xattr body; empty without any."""
    if not node.xattrs and not node.opaque:
        return b""
    attributes = dict(node.xattrs)
    if node.opaque:
        attributes[whiteouts.OPAQUE_XATTR] = b"y"
    packed = [_xattr(name, attributes[name]) for name in sorted(attributes)]
    return _XATTR_HEADER.pack(0, 0) + b"".join(packed) if packed else b""


def _xattr(name: bytes, value: bytes) -> bytes:
    prefix, index = next(known for known in _XATTR_PREFIXES if name.startswith(known[0]))
    suffix = name[len(prefix) :]
    packed = _XATTR.pack(len(suffix), index, len(value)) + suffix + value
    return packed + bytes(-len(packed) % 4)


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def _write_pieces(fd: int, pieces: Iterator[bytes]) -> None:
    """Write many small pieces in large ones."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        if len(buffer) >= 1 << 20:
            write_all(fd, bytes(buffer))
            buffer.clear()
    write_all(fd, bytes(buffer))
