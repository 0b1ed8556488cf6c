"""Binds that an external runtime cannot make by itself: images, paths in volumes, others' shm.

They are put at paths in the mount namespace of the maker, where the runtime finds them.
"""

import os
import stat

from ketch.linux import mountapi as m
from ketch.mounts import IMAGE, SHM, SUBPATH, Mount
from ketch.runtime import handover

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Body = dict[str, Any]

PREFIX = "mount-"


def placed(spec: "Body", folder: str, images: "Sequence[int]") -> "Body":
    """``spec`` with plain paths below ``folder`` as the sources of such binds.

    ``images`` are the mounts of START. Raises ``StartFailed`` or OSError.
    """
    mounts = [
        _placed(entry, f"{folder}/{PREFIX}{number}", images) if _is_ours(entry) else entry
        for number, entry in enumerate(spec.get("mounts") or ())
    ]
    return {**spec, "mounts": mounts}


def _is_ours(entry: "Body") -> bool:
    words = entry.get("options") or ()
    return str(entry.get("source")).startswith((IMAGE, SHM)) or any(
        word.startswith(SUBPATH) for word in words
    )


def _placed(entry: "Body", path: str, images: "Sequence[int]") -> "Body":
    words = tuple(entry["options"])
    bind = Mount("bind", entry["source"], entry["destination"], words)
    fd = handover.open_binds([bind], images)[0]
    options = [word for word in words if not word.startswith(SUBPATH)]
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.mkdir(path, 0o700)
    else:
        options = ["ro" if word == "rro" else word for word in options]  # crun 1.8 knows no other
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    m.move_mount(fd, m.AT_FDCWD, path)
    os.close(fd)
    return {**entry, "source": path, "options": options}
