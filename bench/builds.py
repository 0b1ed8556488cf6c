"""Builds: ours by ``ketch build``, Docker's by its classic builder and by BuildKit.

The classic builder is asked by the docker CLI of ``PATH``. BuildKit is asked by Debian's CLI
(20.10), which holds its own client of it, or by a newer one with the buildx plugin.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from bench.engines import BIN, Docker, Ketch, buildkit_client
from bench.timing import Row, paired, seconds

FILES = 20_000
STAGES = 4
WORK = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done"  # a tenth of a second of a core
EMPTYING = 2.0  # seconds: our trash is emptied after the answer, which nobody is to pay for
SUITE = "bookworm"
PYTHON = "3.11"  # of the suite
APPLICATION = "datasette"
DOCKERFILE = """\
FROM bench-debian
RUN --mount=type=bind,from=bench-packages,source=/debs,target=/debs \\
    apt-get install -y --no-install-recommends /debs/*.deb
WORKDIR /srv
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/pip \\
    --mount=type=bind,from=bench-packages,source=/wheels,target=/wheels \\
    pip install --break-system-packages --no-index --find-links=/wheels -r requirements.txt
COPY . .
EXPOSE 8001
CMD ["python3", "-m", "datasette", "serve", "--host", "0.0.0.0"]
"""


class Builds:
    """Builds of one context by each builder that there is."""

    def __init__(self, docker: Docker, ketch: Ketch, work: Path, rounds: int) -> None:
        self.docker = docker
        self.ketch = ketch
        self.work = work
        self.rounds = rounds

    def rows(
        self,
        what: str,
        folder: Path,
        limit: float,
        before: Callable[[], None] = lambda: None,
        flags: tuple[str, ...] = (),
        classic: bool = True,
    ) -> list[Row]:
        """Rows against the builders of Docker; ``before`` runs before each single build."""
        found = []
        if classic:
            found.append(self._row(f"{what}: classic", "docker", "0", folder, limit, before, flags))
        if theirs := buildkit_client():
            found.append(self._row(f"{what}: BuildKit", theirs, "1", folder, limit, before, flags))
        return found

    def _row(
        self,
        what: str,
        client: str,
        buildkit: str,
        folder: Path,
        limit: float,
        before: Callable[[], None],
        flags: tuple[str, ...],
    ) -> Row:
        words = ["build", *flags, "-q", "-t", "bench-build", str(folder)]
        theirs = {**self.docker.environment(), "DOCKER_BUILDKIT": buildkit}

        def by_docker() -> float:
            before()
            return seconds([client, *words], theirs)

        def by_ketch() -> float:
            before()
            return seconds(self.ketch.ketch(*words), self.ketch.environment())

        return Row(what, *paired(by_docker, by_ketch, self.rounds), limit, "s")

    def folder(self, name: str, dockerfile: str) -> Path:
        """A context that holds a Dockerfile."""
        folder = self.work / name
        folder.mkdir()
        (folder / "Dockerfile").write_text(dockerfile)
        return folder

    def cached(self) -> list[Row]:
        """Nothing to be done: a Dockerfile of six steps over a small context."""
        steps = "FROM busybox\nWORKDIR /app\nCOPY . .\nRUN echo one > /one\nRUN echo two > /two\n"
        folder = self.folder("cached", steps + 'ENV A=b\nCMD ["true"]\n')
        for number in range(20):
            (folder / f"file{number}").write_text(f"{number}\n")
        return self.rows("fully cached rebuild", folder, 0.25)

    def copy(self) -> list[Row]:
        """A context of 20,000 small files, copied into a new layer."""
        folder = self.folder("copy", "FROM busybox\nCOPY . /srv\n")
        for number in range(FILES):
            path = folder / f"d{number // 200:03}" / f"f{number:05}"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"file {number}\n" * 20)
        return self.rows(f"COPY of {FILES:,} files", folder, 0.6, flags=("--no-cache",))

    def stages(self) -> list[Row]:
        """Four stages that need nothing of each other, and one that takes from all."""
        lines = []
        for number in range(STAGES):
            lines += [
                f"FROM busybox AS s{number}",
                f"RUN {WORK}; echo {number} > /out{number}",
                f"RUN echo more >> /out{number}",
            ]
        lines.append("FROM busybox")
        lines += [f"COPY --from=s{number} /out{number} /" for number in range(STAGES)]
        folder = self.folder("stages", "\n".join(lines) + "\n")
        return self.rows("four stages", folder, 0.5, flags=("--no-cache",))

    def python(self) -> list[Row]:
        """A real Python project: Datasette on Debian, as its Dockerfile would be written.

        The first build installs Python and pip with apt (31 Debian packages, dpkg with its syncs
        and maintainer scripts) and 28 wheels with pip, whose cache is a mount, and copies the
        source (some 160 files) last; nothing but the base image is there before: both builders
        are pruned. Packages and wheels come from an image in place of a mirror, so that no network
        is measured. The other build follows an edit of one source file.

        The limit of the first build is out of reach: the user mode of apt, dpkg, pip and what they
        start, the same in any engine, is 4.7 to 4.9 s of BuildKit's 7.1 to 7.8 s. In a plain chroot
        on a tmpfs the two commands take 5.5 s: 0.7 to 0.77 is what an engine without any cost of
        its own would reach.
        """
        self._debian()
        self._packages()
        folder = self.folder("python", DOCKERFILE)
        found = [wheel.name for wheel in (self.work / "wheels").glob(f"{APPLICATION}-*.whl")]
        with zipfile.ZipFile(self.work / "wheels" / found[0]) as wheel:
            names = [name for name in wheel.namelist() if name.startswith(f"{APPLICATION}/")]
            wheel.extractall(folder, names)
        (folder / "requirements.txt").write_text(f"{APPLICATION}=={found[0].split('-')[1]}\n")
        edited = folder / APPLICATION / "app.py"
        source, edits = edited.read_text(), iter(range(1_000_000))

        def prune() -> None:
            for engine in (self.docker, self.ketch):
                engine.docker("builder", "prune", "-af")
            time.sleep(EMPTYING)

        def edit() -> None:
            edited.write_text(f"{source}EDITED = {next(edits)}\n")

        rounds, self.rounds = self.rounds, min(self.rounds, 4)
        first = self.rows("Python project, first", folder, 0.6, prune, classic=False)
        self.rounds = rounds
        for engine in (self.docker, self.ketch):  # what was measured has made an image that works
            engine.docker("run", "--rm", "bench-build", "python3", "-m", APPLICATION, "--version")
        return [*first, *self.rows("Python project, edit", folder, 0.3, edit, classic=False)]

    def _debian(self) -> None:
        """A small Debian in both engines, the same bytes."""
        words = ["image", "bootstrap", f"debian:{SUITE}", "-t", "bench-debian"]
        environment = self.ketch.environment()
        _done([str(BIN / "ketch"), *words], environment)
        archive = self.work / "debian.tar"
        self.ketch.docker("save", "-o", str(archive), "bench-debian")
        self.docker.docker("load", "-i", str(archive))
        archive.unlink()

    def _packages(self) -> None:
        """What apt and pip are to install, as an image in both engines."""
        debs, wheels, status = self.work / "debs", self.work / "wheels", self.work / "status"
        (debs / "partial").mkdir(parents=True)
        words = ["run", "--rm", "bench-debian", "cat", "/var/lib/dpkg/status"]
        status.write_text(self.ketch.docker(*words))
        settings = [f"Dir::State::status={status}", f"Dir::Cache::archives={debs}"]
        flags = [word for setting in settings for word in ("-o", setting)]
        flags += ["--download-only", "--no-install-recommends", "-y"]
        _done(["apt-get", *flags, "install", "python3", "python3-pip"])
        pip = [sys.executable, "-m", "pip", "download", "-q", "-d", str(wheels)]
        _done([*pip, "--only-binary=:all:", "--python-version", PYTHON, APPLICATION])
        archive = self.work / "packages.tar"
        with tarfile.open(archive, "w") as tar:
            for path in (*sorted(debs.glob("*.deb")), *sorted(wheels.glob("*.whl"))):
                tar.add(path, f"{path.parent.name}/{path.name}")
        for engine in (self.docker, self.ketch):
            engine.docker("import", str(archive), "bench-packages")
        archive.unlink()


def _done(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a preparation; raises with its last words."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:3])}: {done.stderr[-1000:]}")


def measure(docker: Docker, ketch: Ketch, work: Path, rounds: int, name: str) -> list[Row]:
    """The rows of one kind of build, a method of ``Builds``."""
    inside = work / "builds"
    inside.mkdir()
    try:
        found: list[Row] = getattr(Builds(docker, ketch, inside, rounds), name)()
    finally:
        shutil.rmtree(inside)
    return found
