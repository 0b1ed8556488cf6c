"""The compose plug-in of a newer Debian: a project of three services, built, run and taken away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.buildx_client import Buildx
from e2e.ketchd_process import Ketchd

pytestmark = pytest.mark.root

LOOP = "trap 'exit 0' TERM; while true; do sleep 0.1; done"
COMPOSE = f"""
name: shop
services:
  db:
    image: busybox
    command: ["sh", "-c", "echo ready >/data/state; {LOOP}"]
    volumes: ["data:/data"]
    stop_grace_period: 1s
    healthcheck: {{test: ["CMD", "test", "-f", "/data/state"], interval: 100ms, timeout: 9s}}
  worker:
    build: {{context: worker, args: {{WHO: compose}}, secrets: [token]}}
    environment: {{A: b}}
    depends_on: {{db: {{condition: service_healthy}}}}
  web:
    image: shop/web:1
    init: true
    build: {{context: web, target: final, additional_contexts: {{base: "service:worker"}}}}
    ports: ["127.0.0.1::80"]
    depends_on: [worker]
volumes: {{data: {{}}}}
secrets:
  token: {{file: ./token}}
"""
FILES = {
    "compose.yaml": COMPOSE,
    "token": "a secret",
    "worker/Dockerfile": "FROM busybox\nARG WHO\nRUN --mount=type=secret,id=token"
    f" cp /run/secrets/token /token && echo $WHO >/who\nCMD echo began; {LOOP}\n",
    "web/www/index.html": "a page",
    "web/Dockerfile": 'FROM base AS final\nCOPY www /www\nCMD ["httpd", "-f", "-h", "/www"]\n',
}


class Project:
    """One project's client."""

    def __init__(self, client: Buildx, folder: Path) -> None:
        self.client, self.folder = client, folder
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)

    def run(self, *words: str, code: int = 0, **env: str) -> str:
        done = self.client.docker("compose", *words, code=code, cwd=self.folder, env=env)
        return done.stdout


@pytest.fixture(scope="module")
def project(ketchd: Ketchd, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("compose")
    client = Buildx(ketchd, "sid", folder / "config", "docker-compose")
    return Project(client, folder)


@pytest.mark.parametrize("bake", ["true", "false"])
def test_builds(ketchd: Ketchd, project: Project, bake: str) -> None:
    """By buildx bake, and by the builder inside of compose."""
    project.run("build", "--no-cache", COMPOSE_BAKE=bake)
    shown = ketchd.out("run", "--rm", "shop/web:1", "cat", "/token", "/who", "/www/index.html")
    assert shown == "a secretcompose\na page"
    ketchd.docker("rmi", "shop/web:1", "shop-worker")


def test_a_project(ketchd: Ketchd, project: Project) -> None:
    try:
        project.run("up", "-d", "--build")
        listed = project.run("ps", "--format", "{{.Service}} {{.State}} {{.Health}}").split("\n")
        assert sorted(filter(None, listed)) == [
            "db running healthy",
            "web running ",
            "worker running ",
        ]
        assert project.run("exec", "-T", "-e", "X=1", "worker", "sh", "-c", "echo $X$A") == "1b\n"
        assert project.run("run", "--rm", "--no-deps", "worker", "cat", "/who") == "compose\n"
        project.run("cp", "token", "web:/www/token")
        port = project.run("port", "web", "80").strip()
        assert (
            ketchd.out(
                *("run", "--rm", "--network", "host", "busybox"),
                *("wget", "-q", "-O", "-", f"http://{port}/token"),
            )
            == "a secret"
        )
        project.run("up", "-d", "--scale", "worker=2")
        assert len(project.run("ps", "-q", "worker").split()) == 2
        project.run("scale", "worker=1")
        (row,) = json.loads(project.run("ls", "--format", "json"))
        assert (row["Name"], row["Status"]) == ("shop", "running(3)")
        project.run("stop", "web")
        project.run("up", "-d", "--force-recreate", "web")
        assert "shop-web-1" in project.run("ps", "--format", "{{.Name}}").split()
    finally:
        project.run("down", "-v", "--rmi", "local", "-t", "0")
    assert "shop" not in ketchd.out("ps", "-a", "--format", "{{.Names}}")
    assert "shop" not in ketchd.out("network", "ls") + ketchd.out("volume", "ls")


def test_logs_go_on_when_a_service_is_restarted(ketchd: Ketchd, project: Project) -> None:
    """compose looks at a container that died; while it is being restarted it must not look dead."""
    try:
        project.run("up", "-d", "--no-deps", "worker")
        following = project.client.popen(
            *("compose", "--project-directory", str(project.folder)),
            *("logs", "-f", "--no-log-prefix", "--no-color", "worker"),
            stdout=-1,
            cwd=project.folder,
        )
        assert following.stdout is not None
        try:
            assert following.stdout.readline() == b"began\n"
            project.run("restart", "-t", "1", "worker")
            again = (line for line in iter(following.stdout.readline, b"") if b"began" in line)
            assert next(again, None) == b"began\n"  # until it ends
        finally:
            following.kill()
            following.wait()
    finally:
        project.run("down", "-v", "--rmi", "local", "-t", "0")
