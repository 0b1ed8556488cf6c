"""A worker's way into a directory or into a running container, before it touches hostile files.

Runs in a worker of the launcher (``{"op": "work"}`` without ``rootfs``), so it imports next to
nothing. The function is imported first: afterwards nothing can be imported any more, so that no
file of the tree is ever executed as code.
"""

import os
import sys

from ketch.errors import Unavailable
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

    The last fd is its directory (O_PATH will do). With ``args["pid"]`` there is none, and the tree
    is what that process sees: the worker joins its mount namespace (setns(2), needs CAP_SYS_ADMIN).
    The process must be in the control group of the name ``args["cgroup"]``, else ``Unavailable`` is
    raised: it has ended, and its number may be another's by now.
    """
    module, _, name = str(args["task"]).partition(":")
    __import__(module)
    function: Callable[[Args, list[int]], Args] = getattr(sys.modules[module], name)
    inner = args["args"]
    assert isinstance(inner, dict)
    root = _join(int(str(args["pid"])), str(args["cgroup"])) if "pid" in args else fds.pop()
    os.fchdir(root)
    os.close(root)
    os.chroot(".")
    _shut_off()
    return function(inner, fds)


def _join(pid: int, cgroup: str) -> int:
    """Enter a process's mount namespace; its root as a descriptor.

    Everything is opened below one descriptor of /proc/PID, which is of one process for good.
    """
    try:
        folder = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY)
        if cgroup not in _groups(folder):
            raise ProcessLookupError(f"{pid} is another process")
        root = os.open("root", os.O_PATH | os.O_DIRECTORY, dir_fd=folder)
        namespace = os.open("ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise Unavailable(f"the container's first process has ended: {error}") from None
    setns(namespace, CLONE_NEWNS)
    os.close(namespace)
    os.close(folder)
    return root


def _groups(folder: int) -> "set[str]":
    """The names of the control groups that a process is in, or below."""
    with open(os.open("cgroup", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)) as file:
        return {name for line in file for name in line.rstrip("\n").split(":", 2)[2].split("/")}


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
