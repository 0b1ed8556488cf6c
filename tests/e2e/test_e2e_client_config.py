"""What config.json means to containers and builds, and what the daemon says of its registries."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from e2e.ketch_program import KETCH
from e2e.ketchd_process import Ketchd, docker_path

pytestmark = pytest.mark.root
PROXIES = {
    "default": {"httpProxy": "http://proxy.test:3128", "noProxy": "localhost,.test"},
    "unix:///elsewhere.sock": {"httpProxy": "http://wrong.test"},
}
SET = [
    "HTTP_PROXY=http://proxy.test:3128", "NO_PROXY=localhost,.test",
    "http_proxy=http://proxy.test:3128", "no_proxy=mine",
]  # fmt: skip


@pytest.mark.parametrize("program", [docker_path() or "docker", KETCH])
def test_proxies(ketchd: Ketchd, program: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"proxies": PROXIES}))
    env = {**ketchd.env(), "DOCKER_CONFIG": str(tmp_path)}
    for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
        env.pop(variable, None)

    def out(*words: str) -> str:
        done = subprocess.run(
            [program, *words], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr  # progress of a build may be on either

    shown = out("run", "--rm", "-e", "no_proxy=mine", "busybox", "env").splitlines()
    assert sorted(line for line in shown if "proxy" in line.lower()) == SET
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo got $http_proxy\n")
    assert "got http://proxy.test:3128" in out("build", "--no-cache", str(tmp_path))


@pytest.mark.parametrize("program", [docker_path() or "docker", KETCH])
def test_the_engine_for_a_container(
    ketchd: Ketchd, program: str, tmp_path: Path, name: str
) -> None:
    auths = {"registry.test": {"auth": "dTpw"}, "token.test": {"identitytoken": "t"}}
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths, "psFormat": "x"}))
    env = {**ketchd.env(), "DOCKER_CONFIG": str(tmp_path)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        line = [program, "run", "--rm", "--use-api-socket", *words]
        return subprocess.run(
            line, env=env, capture_output=True, text=True, timeout=60, check=False
        )

    look = "test -S /var/run/docker.sock; echo $?; cat $DOCKER_CONFIG/config.json"
    status, _, config = run("busybox", "sh", "-c", look).stdout.partition("\n")
    assert (status, set(json.loads(config))) == ("0", {"auths"})
    assert json.loads(config)["auths"]["registry.test"] == {"auth": "dTpw"}
    assert json.loads(config)["auths"]["token.test"]["identitytoken"] == "t"
    secret = run("-u", "guest", "busybox", "cat", "/run/secrets/docker/config.json")
    assert "Permission denied" in secret.stderr
    own = run("-e", "DOCKER_CONFIG=/own", "busybox", "ls", "/run/secrets")
    assert own.returncode == 1
    failed = run("--name", name, "--read-only", "busybox", "true")  # docker leaves it there
    assert failed.returncode == 125
    assert "config.json into" in failed.stderr
    env["DOCKER_HOST"] = env["KETCH_HOST"] = "tcp://127.0.0.1:1"
    elsewhere = run("busybox", "true")
    assert "can only be used with unix sockets" in elsewhere.stderr


def test_prune_of_everything_by_a_label(ketchd: Ketchd) -> None:
    """Build records have no labels: none is found, as with dockerd."""
    done = ketchd.out("system", "prune", "-af", "--filter", "label=no-such-label")
    assert done == "Total reclaimed space: 0B"


def test_modes(ketchd: Ketchd) -> None:
    """Scorecard N6: what others may see of the daemon's files."""

    def mode(path: Path) -> int:
        assert path.stat().st_uid == 0
        return stat.S_IMODE(path.stat().st_mode)

    assert mode(ketchd.socket) == 0o660
    assert mode(ketchd.data) == 0o710
    assert mode(ketchd.data / "ketch.db") == 0o600
    assert mode(ketchd.run / "launcher.sock") == 0o600


def test_info_tells_of_registries(ketchd: Ketchd) -> None:
    info = json.loads(ketchd.out("info", "--format", "json"))
    assert "127.0.0.0/8" in info["RegistryConfig"]["InsecureRegistryCIDRs"]
    assert info["RegistryConfig"]["IndexConfigs"]["docker.io"]["Secure"] is True
    assert info["Debug"] is False
