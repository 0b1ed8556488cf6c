"""EIO and ENOMEM at the n-th call of the daemon: an error, no crash, and nothing stays behind."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.conftest import assert_clean, clean_up, load_busybox
from e2e.ketchd_process import Ketchd, wait_for

pytestmark = pytest.mark.root

# Stands before the C library and lets one call fail: when `left` has counted down to zero.
SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct { int armed, left, error, hit; } *plan;

__attribute__((constructor)) static void begin(void) {
    int fd = ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64"))(getenv("PLAN"), O_RDWR);
    plan = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    unsetenv("LD_PRELOAD"); /* the launcher and what it forks are not meant */
}

static int fails(void) {
    if (!plan || !__atomic_load_n(&plan->armed, __ATOMIC_SEQ_CST)) return 0;
    if (__atomic_fetch_sub(&plan->left, 1, __ATOMIC_SEQ_CST) != 0) return 0;
    plan->hit = 1;
    errno = plan->error;
    return 1;
}

#define WRAP(type, name, params, args) \
    type name params { \
        static type (*real) params; \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        return fails() ? -1 : real args; \
    }

ssize_t write(int fd, const void *data, size_t size) { /* of files: libuv aborts for an eventfd */
    static ssize_t (*real)(int, const void *, size_t);
    struct stat found;
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if (fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && fails()) return -1;
    return real(fd, data, size);
}

WRAP(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, fdatasync, (int fd), (fd))
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(int, rename, (const char *from, const char *to), (from, to))
WRAP(int, ftruncate64, (int fd, off64_t size), (fd, size))

int open64(const char *path, int flags, ...) {
    static int (*real)(const char *, int, ...);
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int);
    va_end(more);
    if (!real) real = dlsym(RTLD_NEXT, "open64");
    return fails() ? -1 : real(path, flags, mode);
}
"""


class Faults:
    """The plan that the daemon's calls look at."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(4096))
        with path.open("r+b") as file:
            self._plan = mmap.mmap(file.fileno(), 4096)

    @contextmanager
    def at(self, call: int, error: int) -> Iterator[None]:
        """Let the call of this number fail."""
        self._plan[:16] = struct.pack("4i", 1, call, error, 0)
        try:
            yield
        finally:
            self._plan[:4] = struct.pack("i", 0)

    @property
    def hit(self) -> bool:
        return bool(struct.unpack("i", self._plan[12:16])[0])


@pytest.fixture(scope="module")
def engine() -> Iterator[tuple[Ketchd, Faults]]:
    if shutil.which("gcc") is None:
        pytest.fail("needs gcc: scripts/setup.sh test")
    folder = Path(tempfile.mkdtemp(prefix="ketch-e2e-"))
    library, plan = folder / "faults.so", folder / "plan"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(library), "-ldl"]
    subprocess.run(command, input=SOURCE.encode(), check=True)
    daemon, faults = Ketchd(folder), Faults(plan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAN", str(plan))
        patch.setenv("LD_PRELOAD", str(library))
        try:
            daemon.start()
            patch.delenv("LD_PRELOAD")
            load_busybox(daemon)
            daemon.docker("run", "-d", "--name", "bystander", "busybox", "sleep", "600")
            yield daemon, faults
            daemon.shutdown_everything()
            assert_clean(daemon)
        finally:
            clean_up(daemon)


# What is done, and what undoes it.
DEEDS = {
    "run": (["run", "--rm", "busybox", "true"], []),
    "create": (["create", "--name", "made", "busybox", "true"], ["rm", "made"]),
    "volume": (["volume", "create", "kept"], ["volume", "rm", "kept"]),
    "tag": (["tag", "busybox", "other:1"], ["rmi", "other:1"]),
    "rename": (["rename", "bystander", "b2"], ["rename", "b2", "bystander"]),
}


def shown(daemon: Ketchd) -> tuple[str, ...]:
    asked = ("ps -a --format {{.Names}}", "images --format {{.Repository}}:{{.Tag}}",
             "volume ls -q")  # fmt: skip
    return tuple(daemon.out(*words.split()) for words in asked)


def on_disk(daemon: Ketchd) -> list[str]:
    places = ("containers", "snapshots", "volumes", "content/ingest")
    found = [str(path) for place in places for path in (daemon.data / place).glob("*")]
    return sorted([*found, *daemon.unfinished()])


@pytest.mark.parametrize(
    "error", [errno.EIO, pytest.param(errno.ENOMEM, marks=pytest.mark.long)], ids=["EIO", "ENOMEM"]
)
@pytest.mark.parametrize("deed", DEEDS)
def test_each_call_fails(engine: tuple[Ketchd, Faults], deed: str, error: int) -> None:
    daemon, faults = engine
    do, undo = DEEDS[deed]
    before, files, process = shown(daemon), on_disk(daemon), daemon.process
    failed = call = 0
    while call < 60:
        with faults.at(call, error):
            done = daemon.docker(*do, code=None, timeout=120)
        if done.returncode:
            failed += 1
            assert done.stderr, "no word of what went wrong"
            wait_for(
                lambda: shown(daemon) == before,
                f"{call}: half done: {shown(daemon)}: {done.stderr}",
            )
        elif undo:
            daemon.docker(*undo)
        if not faults.hit:
            break
        call += 1
    assert failed
    assert daemon.process is process
    assert process is not None
    assert process.poll() is None
    assert shown(daemon) == before
    wait_for(lambda: on_disk(daemon) == files, f"left behind: {set(on_disk(daemon)) - set(files)}")
    assert daemon.out("exec", "bystander", "echo", "alive") == "alive"
    assert os.path.exists(daemon.socket)
