"""A worker's way into a directory or into a running container, before it touches hostile files.

Runs in a worker of the launcher (``{"op": "work"}``), so it imports next to nothing. The function
is imported first: afterwards the engine's own files are out of sight.
"""

import os
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Args = dict[str, object]


def run(args: "Args", fds: "list[int]") -> "Args":
    """Call ``args["task"]`` (``module:function``) with ``args["args"]``, rooted in a tree.

    ``args["root"]`` is a directory of the host; with ``args["pid"]`` the worker first joins that
    process's mount namespace (setns(2), needs CAP_SYS_ADMIN), so that its mounts are there.
    """
    module, _, name = str(args["task"]).partition(":")
    function: Callable[[Args, list[int]], Args] = getattr(import_module(module), name)
    root = os.open(str(args["root"]), os.O_PATH | os.O_DIRECTORY)
    if "pid" in args:
        _join_mounts(int(str(args["pid"])))
    os.fchdir(root)
    os.close(root)
    os.chroot(".")
    inner = args["args"]
    assert isinstance(inner, dict)
    return function(inner, fds)


def _join_mounts(pid: int) -> None:
    from ketch.linux.namespaces import CLONE_NEWNS, setns

    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(namespace, CLONE_NEWNS)
    finally:
        os.close(namespace)
