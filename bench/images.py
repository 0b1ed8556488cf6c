"""Loading a large image, and building."""

from __future__ import annotations

import random
import tarfile
import tempfile
import time
from pathlib import Path

from bench.engines import Docker, Engine, Ketch
from bench.timing import Row, paired, seconds

FILES = 20_000
BYTES = 500_000_000
STEPS = 10


def make_rootfs(path: Path) -> None:
    """A tar of 20,000 files and 500 MB, half of it compressible, the same at every run."""
    generator = random.Random(1)
    text = (b"what a program's text looks like to a compressor, more or less\n" * 1200)[:65536]
    with tarfile.open(path, "w") as tar, tempfile.TemporaryFile() as scratch:
        for index in range(FILES):
            size = BYTES // FILES
            content = text[: size // 2] + generator.randbytes(size - size // 2)
            entry = tarfile.TarInfo(f"usr/share/d{index // 200:03}/f{index:05}")
            entry.size = len(content)
            scratch.seek(0)
            scratch.truncate()
            scratch.write(content)
            scratch.seek(0)
            tar.addfile(entry, scratch)


def load(docker: Docker, ketch: Ketch, work: Path) -> Row:
    """``docker load`` of what ``docker save`` wrote; the image is removed before each load."""
    rootfs, archive = work / "rootfs.tar", work / "image.tar"
    make_rootfs(rootfs)
    docker.docker("import", str(rootfs), "bench-load")
    docker.docker("save", "-o", str(archive), "bench-load")
    rootfs.unlink()
    docker.docker("rmi", "bench-load")
    words = ["docker", "load", "-i", str(archive)]

    def once(engine: Engine) -> float:
        taken = seconds(words, engine.environment())
        engine.docker("rmi", "bench-load")
        return taken

    figures = paired(lambda: once(docker), lambda: once(ketch), 3)
    archive.unlink()
    return Row("load of 20,000 files, 500 MB", *figures, 0.50, "s")


def build(docker: Docker, ketch: Ketch, work: Path, rounds: int) -> Row:
    """Ten RUN steps without cache."""
    folder = work / "steps"
    folder.mkdir(exist_ok=True)
    lines = ["FROM busybox", *(f"RUN echo {number} > /f{number}" for number in range(STEPS))]
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    words = ["docker", "build", "--no-cache", "-q", "-t", "bench-steps", str(folder)]
    figures = paired(
        lambda: seconds(words, docker.environment()),
        lambda: seconds(words, ketch.environment()),
        rounds,
    )
    return Row("ten RUN steps, no cache", *figures, 0.15, "s")


def load_busybox(engine: Engine, archive: bytes) -> None:
    """The base image of all other measures."""
    engine.docker("import", "-c", 'CMD ["sh"]', "-", "busybox", data=archive)
    time.sleep(0.2)
