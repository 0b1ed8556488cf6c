"""Which snapshotter this machine can have."""

from __future__ import annotations

import errno
import io
import os
import tempfile

from ketch.errors import InvalidParameter, Unsupported
from ketch.linux import mountapi
from ketch.snapshots.directory import DirectorySnapshotter
from ketch.snapshots.erofs import ErofsSnapshotter
from ketch.snapshots.store import LayerStore

_KINDS: dict[str, type[LayerStore]] = {
    ErofsSnapshotter.name: ErofsSnapshotter,
    DirectorySnapshotter.name: DirectorySnapshotter,
}
_ANSWER = "erofs-probe"


def open_snapshotter(root: str, wanted: str = "") -> LayerStore:
    """The snapshotter called ``wanted`` (``erofs``, ``directory``), or the best that works.

    ``root`` is the data root; the answer is remembered there per kernel release. Raises
    ``InvalidParameter`` for an unknown name, ``Unsupported`` when erofs is asked for and the kernel
    can't mount an image file.
    """
    if wanted == DirectorySnapshotter.name:
        return DirectorySnapshotter(root)
    if wanted not in ("", ErofsSnapshotter.name):
        raise InvalidParameter(f"unknown snapshotter {wanted!r}: erofs and directory are known")
    if can_mount_images(root):
        return ErofsSnapshotter(root)
    if wanted:
        raise Unsupported(
            "the erofs snapshotter needs a kernel that mounts EROFS images from files (Linux 6.12) "
            "and CAP_SYS_ADMIN; use the directory snapshotter"
        )
    return DirectorySnapshotter(root)


def named(name: str, root: str) -> LayerStore:
    """The snapshotter that was chosen before, without probing; raises ``InvalidParameter``."""
    if name not in _KINDS:
        raise InvalidParameter(f"unknown snapshotter {name!r}: erofs and directory are known")
    return _KINDS[name](root)


def check_overlay() -> None:
    """Raise ``Unsupported`` when this kernel has no overlayfs, without which no container runs."""
    try:
        os.close(mountapi.fsopen("overlay"))  # loads the module where there is one
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.ENOSYS):
            raise
        raise Unsupported(
            "this kernel has no overlayfs (or is older than Linux 5.2): load its module with "
            "'modprobe overlay', or boot a kernel with CONFIG_OVERLAY_FS"
        ) from None


def can_mount_images(root: str) -> bool:
    """Whether file-backed EROFS works here; probed once per kernel release.

    The probe is a detached mount (fsmount(2)): no mount namespace is touched.
    """
    os.makedirs(root, mode=0o710, exist_ok=True)
    path = os.path.join(root, _ANSWER)
    remembered = _read(path).split()
    if len(remembered) == 2 and remembered[0] == os.uname().release:
        return remembered[1] == "yes"
    works = _probe(root)
    _write(path, f"{os.uname().release} {'yes' if works else 'no'}\n")
    return works


def _probe(root: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="ketch-probe-", dir=root) as scratch:
        store = ErofsSnapshotter(scratch)
        layer = store.add_layer(io.BytesIO(bytes(1024)))
        image = store.view([layer.diff_id]).lowers[0].source
        try:
            os.close(mountapi.new_filesystem("erofs", [("source", image)], mountapi.ATTR_RDONLY))
        except OSError:
            return False
    return True


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read(200)
    except (OSError, UnicodeDecodeError):
        return ""


def _write(path: str, text: str) -> None:
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(text)
    os.rename(path + ".new", path)
