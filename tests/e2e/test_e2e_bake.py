"""``docker buildx bake``: several targets at once, their files, what they take from each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.buildx_client import Buildx
from e2e.git_server import serving
from e2e.ketchd_process import Ketchd

pytestmark = pytest.mark.root

DOCKERFILE = """
FROM busybox AS base
ARG WHO=world
RUN echo "hello $WHO" > /who
FROM base AS web
COPY app /app
RUN --mount=type=secret,id=token cp /run/secrets/token /token
FROM base AS worker
LABEL role=worker
"""
HCL = """
variable "TAG" { default = "v1" }
variable "WHO" { default = "bake" }
function "image" {
  params = [name]
  result = "bake/${name}:${TAG}"
}
group "default" { targets = ["web", "worker", "sub"] }
target "_common" {
  args = { WHO = upper(WHO) }
  labels = { "bake.common" = "yes" }
}
target "base" {
  inherits = ["_common"]
  target = "base"
}
target "web" {
  inherits = ["_common"]
  target = "web"
  tags = [image("web")]
  secret = ["id=token,src=token.txt"]
}
target "worker" {
  inherits = ["_common"]
  target = "worker"
  tags = [image("worker"), "bake/worker:latest"]
}
target "sub" {
  context = "sub"
  contexts = { baseimage = "target:base", files = "target:web" }
  tags = [image("sub")]
}
target "matrix" {
  name = "matrix-${item.name}"
  matrix = { item = [{ name = "a", who = "anna" }, { name = "b", who = "bob" }] }
  target = "worker"
  args = { WHO = item.who }
  tags = [image("matrix-${item.name}")]
}
target "both" {
  contexts = { baseimage = "target:plain" }
  dockerfile-inline = "FROM baseimage\\nCOPY --from=baseimage /app/file /copy"
  platforms = ["linux/amd64", "linux/arm64"]
  tags = ["bake/both"]
}
target "plain" {
  dockerfile-inline = "FROM scratch\\nARG TARGETARCH\\nLABEL arch=$TARGETARCH\\nCOPY app /app"
  platforms = ["linux/amd64", "linux/arm64"]
}
"""
COMPOSE = """
services:
  one:
    build:
      context: .
      target: worker
      args: {WHO: compose}
      x-bake: {tags: [bake/one:x]}
  two:
    image: bake/two
    build:
      context: sub
      additional_contexts: {baseimage: "service:one", files: app}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "Dockerfile": DOCKERFILE,
        "app/file": "a file",
        "app/app/file": "a file",
        "sub/Dockerfile": "FROM baseimage\nCOPY --from=files app/file /file\nRUN cat /who >/sub\n",
        "token.txt": "a secret",
        "docker-bake.hcl": HCL,
        "compose.yaml": COMPOSE,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def bake(client: Buildx, project: Path, *words: str, code: int = 0, **env: str) -> str:
    done = client.docker(
        *("buildx", "bake", "--progress=plain", *words), code=code, cwd=project, env=env
    )
    return done.stdout + done.stderr


def test_targets_at_once(ketchd: Ketchd, each_buildx: Buildx, project: Path) -> None:
    """One client's targets share a session for a directory, and take results from each other."""
    file = project / "metadata.json"
    said = bake(each_buildx, project, "--metadata-file", str(file), WHO=each_buildx.suite)
    assert "[sub stage-0 1/3] FROM baseimage" in said
    who = f"hello {each_buildx.suite.upper()}"
    shown = ketchd.out("run", "--rm", "bake/sub:v1", "cat", "/sub", "/file")
    assert shown.split("\n") == [who, "a file"]
    assert ketchd.out("run", "--rm", "bake/web:v1", "cat", "/token") == "a secret"
    assert ketchd.out("run", "--rm", "bake/worker:latest", "cat", "/who") == who
    labels = json.loads(ketchd.out("inspect", "-f", "{{json .Config.Labels}}", "bake/sub:v1"))
    assert labels == {"bake.common": "yes"}  # of the image that it stands on
    metadata = json.loads(file.read_text())
    image = ketchd.out("inspect", "-f", "{{.Id}}", "bake/worker:v1")
    assert metadata["worker"]["containerimage.config.digest"] == image
    again = bake(each_buildx, project, WHO=each_buildx.suite)
    assert "[sub stage-0 3/3] RUN" in again
    assert "hello" not in [line.split(" ", 2)[-1] for line in again.splitlines()]
    names = ("web:v1", "sub:v1", "worker:v1", "worker:latest")
    ketchd.docker("rmi", *(f"bake/{name}" for name in names))


def test_a_matrix_and_what_is_set(ketchd: Ketchd, buildx: Buildx, project: Path) -> None:
    bake(buildx, project, "matrix", "--set", "*.labels.extra=1", "--set", "matrix-b.args.WHO=eve")
    for name, who in (("a", "anna"), ("b", "eve")):
        image = f"bake/matrix-{name}:v1"
        assert ketchd.out("run", "--rm", image, "cat", "/who") == f"hello {who}"
        assert ketchd.out("inspect", "-f", "{{.Config.Labels.extra}}", image) == "1"
        ketchd.docker("rmi", image)
    outlines = bake(buildx, project, "matrix", "--call=outline")
    assert "anna" in outlines
    assert "bob" in outlines
    assert "no warnings found" in bake(buildx, project, "web", "--call=check")


def test_a_result_of_several_platforms(ketchd: Ketchd, buildx: Buildx, project: Path) -> None:
    bake(buildx, project, "both")
    shown = "{{.Config.Labels.arch}} {{len .RootFS.Layers}}"
    for arch in ("amd64", "arm64"):
        platform = f"linux/{arch}"
        found = ketchd.out("image", "inspect", "--platform", platform, "-f", shown, "bake/both")
        assert found == f"{arch} 2"
    ketchd.docker("rmi", "bake/both")


def test_files_of_other_kinds(ketchd: Ketchd, each_buildx: Buildx, project: Path) -> None:
    """Compose files, whose services take each other's results; JSON."""
    if each_buildx.suite == "trixie":  # does not know "service:" yet
        (project / "compose.yaml").write_text(COMPOSE.replace("service:", "target:"))
    bake(each_buildx, project, "-f", "compose.yaml")
    assert ketchd.out("run", "--rm", "bake/two", "cat", "/sub") == "hello compose"
    inline = {"dockerfile-inline": "FROM busybox\nENV a=b", "tags": ["bake/json"]}
    (project / "bake.json").write_text(json.dumps({"target": {"default": inline}}))
    bake(each_buildx, project, "-f", "bake.json")
    assert "a=b" in ketchd.out("inspect", "-f", "{{.Config.Env}}", "bake/json")
    ketchd.docker("rmi", "bake/one:x", "bake/two", "bake/json")


def test_what_fails_names_its_target(buildx: Buildx, project: Path) -> None:
    (project / "sub/Dockerfile").write_text("FROM baseimage\nRUN exit 7\n")
    said = bake(buildx, project, "sub", code=1)
    assert "target sub: failed to solve: process" in said
    assert "exit code: 7" in said
    policy = project / "policy.json"
    policy.write_text('{"rules": [{"action": "DENY", "selector": {"identifier": "*"}}]}')
    said = bake(buildx, project, "base", code=1, EXPERIMENTAL_BUILDKIT_SOURCE_POLICY=str(policy))
    assert "source policies are not supported by ketch" in said


def test_definitions_from_elsewhere(ketchd: Ketchd, buildx: Buildx, tmp_path: Path) -> None:
    """A repository: its bake file is read there, its directories are contexts; a file by URL."""
    hcl = """
    group "default" { targets = ["a", "b"] }
    target "a" { tags = ["remote/a"] }
    target "b" {
      context = "sub"
      contexts = { base = "target:a", beside = "deep/beside" }
      tags = ["remote/b"]
    }
    """
    files = {
        "docker-bake.hcl": hcl,
        "Dockerfile": "FROM busybox\nCOPY file /file\n",
        "file": "of the repository",
        "sub/Dockerfile": "FROM base\nCOPY more /more\nCOPY --from=beside . /all\n",
        "sub/more": "of its directory",
        "deep/beside/file": ", with its name",
    }
    with serving(tmp_path) as repositories:
        repositories.make("repo", files)
        repository = f"{repositories.address}/repo.git#main"
        bake(buildx, tmp_path, repository)
        wanted = ("/file", "/more", "/all/beside/file")  # a named context keeps its name in buildx
        shown = ketchd.out("run", "--rm", "remote/b", "cat", *wanted)
        assert shown == "of the repositoryof its directory, with its name"
        assert ketchd.out("run", "--rm", "remote/b", "ls", "/all") == "beside"
        assert "couldn't find remote ref" in bake(buildx, tmp_path, f"{repository}x", code=1)
        asked = len(repositories.asked)
        bake(buildx, tmp_path, repository, "--print")
        assert sum("upload-pack" in path for path in repositories.asked[asked:]) < 8  # one clone
        file = f"{repositories.address}/dumb/bake.json"
        inline = {"dockerfile-inline": "FROM busybox\nENV from=url", "tags": ["remote/url"]}
        (tmp_path / "bake.json").write_text(json.dumps({"target": {"default": inline}}))
        shown = bake(buildx, tmp_path, file, "--print")
        assert "from=url" in shown
    ketchd.docker("rmi", "remote/a", "remote/b")
