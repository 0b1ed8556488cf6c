"""A build context as one EROFS image, for workers.

No file is made for the files of a context: on ext4, making many soon after many were deleted takes
many times as long as usual, and builds do just that. The image holds the client's tar byte for
byte, as a layer's does, and what ``.dockerignore`` names has no name in it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from base64 import b64encode
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from ketch.build.contexts.ignore import IgnoreRules, parse_ignore
from ketch.errors import InvalidParameter, NotFound
from ketch.layers.compression import decompressed
from ketch.layers.erofs import DATA_START, finish_image
from ketch.layers.materialize import materialize
from ketch.layers.scan import gc_off, scan
from ketch.layers.streams import FileWindow
from ketch.layers.tarread import TarReader
from ketch.layers.tree import Node, Tree

Args = dict[str, Any]
LARGEST_TEXT = 4 << 20
"""Bytes of a Dockerfile or of an ignore file."""
IGNORE = ".dockerignore"
OUTSIDE = ".ketch-dockerfile"
"""A Dockerfile that the command line took from elsewhere: no file of the context."""
_BUFFER = 1 << 20


def receive(stream: int, image: int, dockerfile: str) -> tuple[Args, Tree]:
    """Write the image of a context's tar stream, compressed or not, to the empty file ``image``.

    The answer has ``dockerfile`` and ``ignore`` in base64, ``tar_size`` in bytes, and the
    ``digest`` of what the image shows, times included; beside it is the tree that the image shows.
    With an empty ``dockerfile`` nothing is looked for and nothing left out. Raises ``NotFound``
    when there is no Dockerfile, and what is wrong with the stream.
    """
    os.lseek(image, DATA_START, os.SEEK_SET)
    with os.fdopen(os.dup(stream), "rb", _BUFFER) as raw:
        found = scan(decompressed(raw, eager=True), image, at=DATA_START, whiteouts=False)
    answer: Args = {"tar_size": found.tar_size}
    ignore = b""
    if dockerfile:
        text, ignore = texts(lambda path: _text(found.tree, image, path), dockerfile)
        _prune(found.tree.root, "", parse_ignore(ignore))
        answer["dockerfile"] = b64encode(text).decode()
        answer["ignore"] = b64encode(ignore).decode()
    shown = hashlib.sha256(found.diff_id.encode() + b"\0" + ignore).hexdigest()
    finish_image(image, found.tree, found.tar_size, bytes.fromhex(shown[:32]))
    return {**answer, "digest": f"sha256:{shown}"}, found.tree


def unpack(image: int, tar_size: int, ignore: bytes, root_fd: int) -> None:
    """Make the files that an image shows in an empty directory, for what needs them there."""
    tree = Tree(whiteouts=False)
    with gc_off():
        for entry in TarReader(cast(BinaryIO, FileWindow(os.dup(image), DATA_START, tar_size))):
            tree.add(entry)
    _prune(tree.root, "", parse_ignore(ignore))
    materialize(tree, root_fd, image, DATA_START)


def texts(read: Callable[[str], bytes | None], dockerfile: str) -> tuple[bytes, bytes]:
    """A context's Dockerfile and the ignore file that goes with it (empty: there is none).

    ``read`` gives a file's content, None when there is no such file. A Dockerfile of the default
    name is also found in lower case. Raises ``NotFound``.
    """
    for candidate in (dockerfile, "dockerfile" if dockerfile == "Dockerfile" else dockerfile):
        text = read(candidate)
        if text is not None:
            break
    else:
        raise NotFound(f"Cannot locate specified Dockerfile: {dockerfile}")
    own = read(dockerfile + IGNORE)
    ignore = own if own is not None else read(IGNORE) or b""
    return text, ignore + f"\n{OUTSIDE}*\n".encode() if dockerfile == OUTSIDE else ignore


def _text(tree: Tree, image: int, path: str) -> bytes | None:
    """A regular file's content; None when there is none."""
    node = tree.find(os.fsencode(path))
    if node is None:
        return None
    if not stat.S_ISREG(node.mode):
        raise InvalidParameter(f"{path} in the build context is not a regular file")
    if node.size > LARGEST_TEXT:
        raise InvalidParameter(f"{path} in the build context is larger than 4 MiB")
    return os.pread(image, node.size, DATA_START + node.offset)


def _prune(node: Node, prefix: str, rules: IgnoreRules) -> None:
    """Take away what the rules exclude; a directory stays while something in it is wanted."""
    if not rules or node.children is None:
        return
    for name, child in tuple(node.children.items()):
        path = prefix + os.fsdecode(name)
        _prune(child, path + "/", rules)
        if not child.children and rules.excludes(path):
            del node.children[name]
