"""Workers: forked processes that run one function over hostile data.

A task is named ``module:function`` and called with ``(args, fds)``; it returns a dict. Everything
is imported before the worker enters a container's tree, as a rule before it is forked
(``nursery``); from then on nothing can be imported any more, so that no file in the tree is ever
executed as code.
"""

import _socket
import gc
import os
import sys

from ketch.errors import InvalidParameter
from ketch.linux import capabilities, descriptors, mountapi, namespaces, process
from ketch.runtime import failures, protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Body = dict[str, Any]

# What it takes to write files of any owner and kind; nothing that reaches the kernel or others.
_KEPT = capabilities.mask(
    "CAP_" + word
    for word in ("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "MKNOD", "SETFCAP")
)


def run_worker(work: "Body", control_fd: int, fds: "list[int]", tree: "Tree | None") -> None:
    """Do it and report on the control socket; never raises.

    That it begins is said too: a task that no worker has begun may be given to another.
    """
    process.die_with_parent(process.SIGKILL)
    gc.enable()
    control = _socket.socket(fileno=control_fd)
    control.setblocking(True)
    descriptors.close_all_but([control_fd, *fds, *([tree.root_fd] if tree else [])])
    _say(control, {"event": "began"})
    try:
        function = _find(str(work["task"]))
        if tree is not None:
            tree.enter()
        result = function(work.get("args") or {}, fds)
        report: Body = {"event": "result", "result": result}
    except Exception as error:
        report = {"event": "failed", **failures.to_wire(error)}
        if report["kind"] == "system" and "errno" not in report:
            sys.excepthook(type(error), error, error.__traceback__)
    _say(control, report)


def _say(control: "_socket.socket", report: "Body") -> None:
    try:
        protocol.send(control, report)
    except OSError:
        pass  # whoever asked has gone


def load(task: str) -> bool:
    """Import a task's module; whether that was new. What is wrong with it, its worker tells."""
    module = task.partition(":")[0]
    if module in sys.modules or not module.startswith("ketch."):
        return False
    try:
        __import__(module)
    except Exception:
        return False
    return True


def _find(task: str) -> "Callable[[Body, list[int]], Body]":
    module, _, name = task.partition(":")
    if not module.startswith("ketch.") or not name.isidentifier() or name.startswith("_"):
        raise InvalidParameter(f"{task!r} is not a task of ketch")
    __import__(module)
    function = getattr(sys.modules[module], name, None)
    if not callable(function):
        raise InvalidParameter(f"there is no task {task!r}")
    return function  # type: ignore[no-any-return]


class Tree:
    """A container's root to enter: its detached mount, and a directory to put it over."""

    __slots__ = ("place", "root_fd")

    def __init__(self, root_fd: int, place: str) -> None:
        self.root_fd = root_fd
        self.place = place

    def enter(self) -> None:
        """Make it ``/`` of this process, and give up what is not needed there."""
        namespaces.unshare(namespaces.CLONE_NEWNS)
        host_root = os.open("/", os.O_PATH | os.O_CLOEXEC)
        mountapi.mount_setattr(host_root, propagation=mountapi.MS_PRIVATE, recursive=True)
        os.close(host_root)
        mountapi.move_mount(self.root_fd, mountapi.AT_FDCWD, self.place)
        os.fchdir(self.root_fd)
        mountapi.pivot_root_here()
        os.close(self.root_fd)
        _import_no_more()
        _drop_privileges()


def _import_no_more() -> None:
    sys.path.clear()
    sys.path_importer_cache.clear()
    sys.meta_path[:] = [finder for finder in sys.meta_path if "PathFinder" not in repr(finder)]


def _drop_privileges() -> None:
    held = capabilities.bounding()
    keep = _KEPT & held & capabilities.get()[1]
    capabilities.clear_ambient()
    capabilities.drop_bounding(keep, held)
    capabilities.set_(keep, keep, 0)
    process.set_no_new_privileges()
