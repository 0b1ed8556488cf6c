"""A worker's way into a directory or into a running container, before it touches hostile files.

Runs in a worker of the launcher (``{"op": "work"}`` without ``rootfs``), so it imports next to
nothing. The function is imported first: afterwards nothing can be imported any more, so that no
file of the tree is ever executed as code.
"""

import os
import sys

from ketch.linux import capabilities, process
from ketch.linux.namespaces import CLONE_NEWNS, setns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Args = dict[str, object]

# What it takes to read and write files of any owner and kind.
_KEPT = capabilities.mask(
    "CAP_" + word
    for word in ("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "MKNOD", "SETFCAP")
)


def run(args: "Args", fds: "list[int]") -> "Args":
    """Call ``args["task"]`` (``module:function``) with ``args["args"]``, rooted in a tree.

    ``args["root"]`` is a directory of the host; with ``args["pid"]`` the worker first joins that
    process's mount namespace (setns(2), needs CAP_SYS_ADMIN), so that its mounts are there.
    """
    module, _, name = str(args["task"]).partition(":")
    __import__(module)
    function: Callable[[Args, list[int]], Args] = getattr(sys.modules[module], name)
    inner = args["args"]
    assert isinstance(inner, dict)
    root = os.open(str(args["root"]), os.O_PATH | os.O_DIRECTORY)
    if "pid" in args:
        _join_mounts(int(str(args["pid"])))
    os.fchdir(root)
    os.close(root)
    os.chroot(".")
    _shut_off()
    return function(inner, fds)


def _join_mounts(pid: int) -> None:
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(namespace, CLONE_NEWNS)
    finally:
        os.close(namespace)


def _shut_off() -> None:
    """No more imports, and no more privileges than files need."""
    sys.path.clear()
    sys.path_importer_cache.clear()
    sys.meta_path[:] = [finder for finder in sys.meta_path if "PathFinder" not in repr(finder)]
    held = capabilities.bounding()
    keep = _KEPT & held & capabilities.get()[1]
    capabilities.clear_ambient()
    capabilities.drop_bounding(keep, held)
    capabilities.set_(keep, keep, 0)
    process.set_no_new_privileges()
