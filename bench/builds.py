"""Builds: ours by ``ketch build``, Docker's by its classic builder and by BuildKit.

The classic builder is asked by the docker CLI of ``PATH``. BuildKit is asked by Debian's CLI
(20.10), which holds its own client of it; newer ones need the buildx plugin.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.engines import BIN, Docker, Ketch
from bench.timing import Row, paired, seconds

DEBIAN_DOCKER = Path("/usr/bin/docker")
FILES = 20_000
STAGES = 4
WORK = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done"  # a tenth of a second of a core
PYTHON_IMAGE = "bench-python"
REQUIREMENTS = ("flask", "requests", "sqlalchemy", "jinja2", "click", "pyyaml")

APPLICATION = """\
FROM {image}
WORKDIR /app
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,source=wheels,target=/wheels \\
    pip install --break-system-packages --no-index --find-links=/wheels -r requirements.txt
COPY src/ src/
RUN python3 -m compileall -q src
ENV FLASK_APP=src/app.py
EXPOSE 8000
CMD ["python3", "-m", "flask", "run", "-p", "8000"]
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
        if DEBIAN_DOCKER.exists():
            theirs = str(DEBIAN_DOCKER)
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
        """A Python application: packages by pip through a cache mount; first, after an edit."""
        folder = self.folder("python", APPLICATION.format(image=PYTHON_IMAGE))
        self._python_image()
        (folder / "requirements.txt").write_text("\n".join(REQUIREMENTS) + "\n")
        wheels = [sys.executable, "-m", "pip", "download", "-q", "-d", str(folder / "wheels")]
        subprocess.run([*wheels, *REQUIREMENTS], check=True)
        (folder / "src").mkdir()
        for number in range(60):
            (folder / "src" / f"module{number}.py").write_text(f"VALUE = {number}\n" * 200)
        edits = iter(range(1_000_000))

        def edit() -> None:
            (folder / "src" / "app.py").write_text(f"EDITED = {next(edits)}\n")

        edit()
        rounds, self.rounds = self.rounds, min(self.rounds, 4)
        first = self.rows(
            "Python project, first", folder, 0.6, flags=("--no-cache",), classic=False
        )
        self.rounds = rounds
        return [*first, *self.rows("Python project, edit", folder, 0.3, edit, classic=False)]

    def _python_image(self) -> None:
        """Debian with Python and pip, in both engines."""
        words = ["image", "bootstrap", "--include", "python3,python3-pip", "debian:bookworm"]
        made = subprocess.run(
            [str(BIN / "ketch"), *words, "-t", PYTHON_IMAGE],
            env=self.ketch.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise RuntimeError(f"ketch image bootstrap: {made.stderr}")
        archive = self.work / "python.tar"
        self.ketch.docker("save", "-o", str(archive), PYTHON_IMAGE)
        self.docker.docker("load", "-i", str(archive))
        archive.unlink()


def measure(docker: Docker, ketch: Ketch, work: Path, rounds: int, name: str) -> list[Row]:
    """The rows of one kind of build, a method of ``Builds``."""
    inside = work / "builds"
    inside.mkdir()
    try:
        found: list[Row] = getattr(Builds(docker, ketch, inside, rounds), name)()
    finally:
        shutil.rmtree(inside)
    return found
