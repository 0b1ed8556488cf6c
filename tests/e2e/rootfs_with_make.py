"""A small root file system with a shell and make, from the machine's own programs."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile

from e2e.ketchd_process import BUSYBOX

MAKEFILE = (
    "/app: /app/server\n\t@echo built $@\n/app/server: /app/server.in\n\tcp $< $@\n\tchmod 755 $@\n"
)


def libraries(program: str) -> list[str]:
    """The shared libraries and the loader of a program (ldd(1))."""
    text = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return sorted(set(re.findall(r"(/\S+\.so\S*)", text)))


def rootfs_with_make() -> bytes:
    """A tar of busybox, make and its libraries, and a /Makefile that builds /app."""
    make = shutil.which("make")
    assert make is not None
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", dereference=True) as tar:
        for folder in ("bin", "tmp", "usr", "usr/bin"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(BUSYBOX, "bin/busybox")
        for applet in ("sh", "cp", "chmod", "echo"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        tar.add(make, "usr/bin/make")
        for library in libraries(make):
            tar.add(library, library.lstrip("/"))
        entry = tarfile.TarInfo("Makefile")
        entry.size, entry.mode = len(MAKEFILE), 0o644
        tar.addfile(entry, io.BytesIO(MAKEFILE.encode()))
    return out.getvalue()
