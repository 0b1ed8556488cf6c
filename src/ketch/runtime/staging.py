"""The warm stage: a tiny root of our own with the default pseudo filesystems mounted and masked.

Made before anybody knows which container it will be. The launch then only moves the
trees ``/proc``, ``/dev`` and ``/sys`` into the container's root. The old root is gone from here on:
whatever comes from the host later comes as an fd.
"""

import os

from ketch.linux import mountapi as m
from ketch.mounts import Mount
from ketch.runtime import defaults
from ketch.runtime.mounting import Mounter
from ketch.runtime.plan import PREPARED, plan_mounts, prepared_masks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.runtime.mounting import CgroupView

ROOT = "/root"  # where the container's root is attached below the stage


class Stage:
    """The stage's root and the trees on it; ``mounter`` mounts there. ``procs``: ``Mounter``."""

    def __init__(
        self, cgroup_view: "CgroupView", prepare: bool, procs: "list[int] | None" = None
    ) -> None:
        # Nothing we mount or unmount may spread to where the launcher lives.
        tree = os.open("/", os.O_PATH | os.O_CLOEXEC)
        m.mount_setattr(tree, propagation=m.MS_PRIVATE, recursive=True)
        os.close(tree)
        self.root = m.new_filesystem("tmpfs", [("mode", "755"), ("size", "256k")])
        for name in ("root", "proc", "dev", "sys"):
            os.mkdir(name, 0o755, dir_fd=self.root)
        m.move_mount(self.root, m.AT_FDCWD, "/")
        self.mounter = Mounter(self.root, cgroup_view, procs)
        if prepare:
            self._prepare()
        os.fchdir(self.root)
        # A user namespace may mount proc and sysfs only while it sees others (mount_too_revealing
        # in fs/namespace.c): the old root stays, out of reach, until the container's own pivot.
        self.keeps_old = not prepare
        m.pivot_root_here(keep_old=self.keeps_old)

    def _prepare(self) -> None:
        for mount in plan_mounts(defaults.default_mounts()):
            self.mounter.mount(mount)
        for path in prepared_masks():
            self.mounter.mask(path)
        for path in defaults.READONLY_PATHS:
            self.mounter.make_readonly(path)

    def attach_root(self, mount_fd: int) -> None:
        """Put the container's root where it can become ours."""
        m.move_mount(mount_fd, m.AT_FDCWD, ROOT)

    def move_tree(self, tree: str, to: Mounter) -> None:
        """Move a prepared tree into the container's root; its fds keep their meaning."""
        fd = os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        to.attach(fd, tree)
        os.close(fd)
        if tree == "/dev":
            to.devpts = self.mounter.devpts
        elif tree == "/proc":
            to.proc_sys = self.mounter.proc_sys

    def execute(self, mounts: "list[Mount]", bind_fds: "list[int]", to: Mounter) -> None:
        """All mounts of a plan, in order; ``bind_fds`` are the sources of the binds, in order."""
        remaining = iter(bind_fds)
        for mount in mounts:
            if mount.type == PREPARED:
                self.move_tree(mount.target, to)
            elif mount.type == "bind":
                to.mount(mount, next(remaining))
            else:
                to.mount(mount)
