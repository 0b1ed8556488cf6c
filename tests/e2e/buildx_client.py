"""The docker CLI with a real buildx of a newer Debian (scripts/newer.sh), driving a ketchd.

``Buildx(daemon, "sid")`` has a DOCKER_CONFIG of its own, so that what buildx keeps (build refs,
builders, activity) and other tests' accounts never meet. The fixtures ``buildx`` (the newest) and
``each_buildx`` (one after the other) are for whole modules: builds of one client share its config.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from e2e.ketchd_process import TIMEOUT, Ketchd, docker_path

NEWER = Path(__file__).parents[2] / ".cache/newer"
VERSIONS = ("sid", "trixie")  # 0.29 and 0.13 as of the end of 2025
PLUGINS = "usr/libexec/docker/cli-plugins"


def plugin(suite: str, name: str = "docker-buildx") -> Path:
    """Where a suite's plugin is; skips the test when it is not there."""
    path = NEWER / suite / PLUGINS / name
    if not os.access(path, os.X_OK):
        pytest.skip(f"needs {name} of Debian {suite} (make setup-test unpacks it to {path})")
    return path


class Buildx:
    """A docker CLI whose ``build`` is buildx."""

    def __init__(self, daemon: Ketchd, suite: str, config: Path, *others: str) -> None:
        self.daemon, self.suite, self.config = daemon, suite, config
        self.plugin = plugin(suite)
        plugins = config / "cli-plugins"
        plugins.mkdir(parents=True)
        for name in ("docker-buildx", *others):
            (plugins / name).symlink_to(plugin(suite, name))
        (config / "config.json").write_text(json.dumps({}))

    def env(self, **more: str) -> dict[str, str]:
        """For the client; without what whoever runs the tests has set for buildx."""
        inherited = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("BUILDX_", "BUILDKIT_", "DOCKER_", "COMPOSE_"))
            and name != "SOURCE_DATE_EPOCH"
        }
        return {
            **inherited,
            "DOCKER_HOST": f"unix://{self.daemon.socket}",
            "DOCKER_CONFIG": str(self.config),
            "DOCKER_CLI_HINTS": "false",
            **more,
        }

    def docker(
        self,
        *words: str,
        code: int | None = 0,
        env: dict[str, str] | None = None,
        input: bytes | None = None,
        cwd: Path | None = None,
        timeout: float = TIMEOUT,
    ) -> subprocess.CompletedProcess[str]:
        """``docker WORDS``; ``code`` is the exit status that must come (None: any)."""
        done = subprocess.run(
            [docker_path() or "docker", *words],
            env=self.env(**(env or {})),
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            cwd=cwd,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        out, err = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
        assert code is None or done.returncode == code, (
            f"docker {' '.join(words)}: exit {done.returncode}, wanted {code}\n"
            f"stdout: {out[-3000:]}\nstderr: {err[-3000:]}\ndaemon: {self.daemon.tail()}"
        )
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def build(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        """``docker buildx build --progress=plain WORDS``; ``docker``'s options."""
        return self.docker("buildx", "build", "--progress=plain", *words, **options)  # type: ignore[arg-type]

    def popen(self, *words: str, **options: object) -> subprocess.Popen[bytes]:
        """The client in a process of its own."""
        return subprocess.Popen(
            [docker_path() or "docker", *words],
            env=self.env(),
            **options,  # type: ignore[call-overload]
        )


@pytest.fixture(scope="module")
def buildx(ketchd: Ketchd, tmp_path_factory: pytest.TempPathFactory) -> Buildx:
    """The newest buildx."""
    return Buildx(ketchd, VERSIONS[0], tmp_path_factory.mktemp("buildx") / "config")


@pytest.fixture(scope="module", params=VERSIONS)
def each_buildx(
    ketchd: Ketchd, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Buildx:
    """Every buildx, one after the other."""
    return Buildx(ketchd, request.param, tmp_path_factory.mktemp("buildx") / "config")
