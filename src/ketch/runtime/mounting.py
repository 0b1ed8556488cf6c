"""Executing mount steps below a root that is somebody else's (child side).

Every target is looked up with openat2(2) inside the root; every mount is made detached, gets its
attributes, and is then attached with move_mount(2).
"""

import errno
import os
import stat

from ketch.errors import StartFailed, errno_text
from ketch.linux import mountapi as m
from ketch.linux.paths import O_PATH, make_directories, make_file, open_in_root
from ketch.runtime import defaults, mount_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.mounts import Mount

    # (name below /sys/fs/cgroup, options, the directory shown) of each v1 hierarchy; [] on a pure
    # v2 machine
    CgroupView = list[tuple[str, list[tuple[str, str | None]], str]]

# The image must not choose where these end up.
_NO_LINKS = ("/proc", "/sys", "/dev")


class Mounter:
    """Mounts into one root.

    ``devpts`` and ``proc_sys`` are fds of what was mounted there (or -1), kept since paths inside
    a container say nothing. ``procs``, for a caller that is not in the container's pid namespace,
    are contexts of fsopen(2) for the proc file systems, made by a process that is.
    """

    def __init__(
        self, root_fd: int, cgroup_view: "CgroupView", procs: "list[int] | None" = None
    ) -> None:
        self.root_fd = root_fd
        self.cgroup_view = cgroup_view
        self.procs = procs
        self.devpts = -1
        self.proc_sys = -1
        self._empty = -1

    def mount(self, mount: "Mount", bind_fd: int = -1) -> None:
        """Make one mount of the plan; raises ``StartFailed`` naming it."""
        try:
            self._mount(mount, bind_fd)
        except OSError as error:
            hint = ""
            if mount.type == "bind" and _is_of_other_kind(error, bind_fd):
                hint = ": a directory cannot be mounted onto a file, nor a file onto a directory"
            reason = errno_text(error)
            raise StartFailed(
                f"cannot mount {mount.type} {mount.source} at {mount.target}: {reason}{hint}", 128
            ) from None

    def _mount(self, mount: "Mount", bind_fd: int) -> None:
        wanted = mount_options.parse(mount.options)
        if mount.type == "cgroup" and self.cgroup_view:
            self._mount_cgroups(mount.target, wanted.set)
            return
        fd = bind_fd if mount.type == "bind" else self._filesystem(mount, wanted)
        self._set_attributes(fd, wanted, mount.type == "bind")
        self.attach(fd, mount.target)
        self._remember(mount, fd)

    def _filesystem(self, mount: "Mount", wanted: "mount_options.Attributes") -> int:
        if wanted.copy_up:
            raise OSError(22, "tmpcopyup is not supported")
        kind = "cgroup2" if mount.type == "cgroup" else mount.type
        data = [("source", mount.source or kind), *wanted.data]
        return m.new_filesystem(kind, data, wanted.set, self._context(kind))

    def _context(self, kind: str) -> int:
        if kind != "proc" or self.procs is None:
            return -1
        if not self.procs:
            raise OSError(errno.ENOSPC, "no more than one proc file system can be mounted")
        return self.procs.pop()

    def _set_attributes(self, fd: int, wanted: "mount_options.Attributes", is_bind: bool) -> None:
        if is_bind:
            self._set_propagation(fd, wanted)
            if wanted.set or wanted.clear:
                m.mount_setattr(fd, wanted.set, wanted.clear & ~wanted.set)
        if wanted.tree_set or wanted.tree_clear:
            clear = wanted.tree_clear & ~wanted.tree_set
            m.mount_setattr(fd, wanted.tree_set, clear, recursive=True)

    def _set_propagation(self, fd: int, wanted: "mount_options.Attributes") -> None:
        """As asked; what is mounted below stays no peer of the host's mounts, unless asked.

        Else what the container mounts there would appear on the host.
        """
        propagation = wanted.propagation or m.MS_PRIVATE
        recursive = wanted.tree_propagation or not wanted.propagation
        if not recursive and propagation != m.MS_SHARED:
            m.mount_setattr(fd, propagation=m.MS_SLAVE, recursive=True)
        m.mount_setattr(fd, propagation=propagation, recursive=recursive)

    def attach(self, fd: int, target: str) -> None:
        """Attach a detached mount at ``target`` in the root, making the mount point if missing."""
        if target in _NO_LINKS:
            self._refuse_link(target)
        if target == "/":
            raise OSError(22, "the root itself cannot be mounted over")
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            target_fd = make_directories(self.root_fd, target)
        else:
            target_fd = make_file(self.root_fd, target)
        try:
            m.move_mount(fd, target_fd)
        finally:
            os.close(target_fd)

    def _refuse_link(self, target: str) -> None:
        try:
            found = os.stat(target[1:], dir_fd=self.root_fd, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISLNK(found.st_mode):
            raise OSError(40, f"{target} of the image is a symbolic link")

    def _remember(self, mount: "Mount", fd: int) -> None:
        if mount.type == "devpts":
            self.devpts = fd
        elif mount.type == "proc":
            self.proc_sys = os.open("sys", O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
        elif mount.target == "/dev" and mount.type == "tmpfs":
            populate_dev(fd)
            os.close(fd)
        else:
            os.close(fd)

    def _mount_cgroups(self, target: str, attributes: int) -> None:
        """The v1 view: a tmpfs with one directory per hierarchy, all with ``attributes``."""
        base = m.new_filesystem("tmpfs", [("mode", "755"), ("size", "64k")])
        for name, _, _ in self.cgroup_view:
            os.mkdir(name, 0o755, dir_fd=base)
            for alias in name.split(",") if "," in name else ():
                os.symlink(name, alias, dir_fd=base)
        self.attach(base, target)
        for name, options, shown in self.cgroup_view:
            kind = "cgroup" if options else "cgroup2"
            fd = m.new_filesystem(kind, options, attributes)
            if shown:
                fd = _part(fd, shown, attributes)
            m.move_mount(fd, base, name)
            os.close(fd)
        m.mount_setattr(base, attributes)
        os.close(base)

    def mask(self, path: str) -> None:
        """Hide a path: an empty read-only directory or /dev/null over it. Missing ones are fine."""
        try:
            target = open_in_root(self.root_fd, path)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            if stat.S_ISDIR(os.fstat(target).st_mode):
                m.move_mount(self._empty_directory(), target)
            else:
                cover = self._null()
                m.move_mount(cover, target)
                os.close(cover)
        finally:
            os.close(target)

    def _empty_directory(self) -> int:
        """An empty read-only mount: the first is made, all others are copies of it."""
        if self._empty >= 0:
            return m.open_tree("", self._empty)
        attributes = m.ATTR_RDONLY | m.ATTR_NOSUID | m.ATTR_NODEV | m.ATTR_NOEXEC
        self._empty = m.new_filesystem("tmpfs", [("size", "4k"), ("mode", "555")], attributes)
        return self._empty

    def _null(self) -> int:
        """A copy of the root's /dev/null, which must be the real one."""
        fd = open_in_root(self.root_fd, "/dev/null", O_PATH | os.O_NOFOLLOW)
        try:
            found = os.fstat(fd)
            if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(1, 3):
                raise StartFailed("cannot mask files: /dev/null of the container is a fake", 128)
            return m.open_tree("", fd)
        finally:
            os.close(fd)

    def make_readonly(self, path: str) -> None:
        """Put a read-only copy of a path over itself. Missing ones are fine."""
        try:
            target = open_in_root(self.root_fd, path)
        except (FileNotFoundError, NotADirectoryError):
            return
        copy = m.open_tree("", target, recursive=True)
        m.mount_setattr(copy, m.ATTR_RDONLY, recursive=True)
        m.move_mount(copy, target)
        os.close(copy)
        os.close(target)


def _part(whole: int, path: str, attributes: int) -> int:
    """A mount of one directory of the mount ``whole``, which is closed."""
    fd = m.open_tree(path, whole)
    os.close(whole)
    m.mount_setattr(fd, attributes)
    return fd


def populate_dev(dev_fd: int) -> None:
    """Nodes, links and directories of a fresh /dev.

    In a user namespace mknod(2) gives EPERM: there the plan binds the host's nodes.
    """
    for path, major, minor in defaults.DEVICES:
        try:
            os.mknod(path[5:], stat.S_IFCHR | 0o666, os.makedev(major, minor), dir_fd=dev_fd)
        except PermissionError:
            break
    for path, goal in defaults.DEVICE_LINKS:
        os.symlink(goal, path[5:], dir_fd=dev_fd)


def _is_of_other_kind(error: OSError, source_fd: int) -> bool:
    """Whether a bind failed since one end is a directory and the other is not: for a directory
    on a file the kernel says ENOTDIR, for the reverse EINVAL (move_mount(2))."""
    if error.errno == errno.EINVAL and source_fd >= 0:
        return not stat.S_ISDIR(os.fstat(source_fd).st_mode)
    return error.errno == errno.ENOTDIR
