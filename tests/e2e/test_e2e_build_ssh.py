"""Repositories that are reached by ssh: a real sshd, a real agent whose key is lent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit.buildx import Buildx
from e2e.git_server import BACKEND, Repositories
from e2e.ketchd_process import Ketchd
from e2e.ssh_server import SshServer, ssh_agent, ssh_server
from e2e.test_e2e_build_remote import build, said

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not Path(BACKEND).exists(), reason="needs git"),
]
DOCKERFILE = "FROM busybox\nCOPY . /src/\nRUN ls -A /src && cat /src/name\n"


@pytest.fixture(scope="module")
def server() -> Iterator[SshServer]:
    """At ssh's own port, so that ``user@host:path`` finds it."""
    with ssh_server(port=22) as server:
        yield server


@pytest.fixture(scope="module")
def agent(server: SshServer) -> Iterator[Path]:
    with ssh_agent(server.folder / "user_key", server.folder / "agent.sock") as path:
        yield path


@pytest.fixture(scope="module")
def url(server: SshServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A repository with a submodule, both behind ssh."""
    folder = tmp_path_factory.mktemp("git")
    repositories = Repositories(folder)
    repositories.make("part", {"inside": "of a submodule\n"})
    repositories.make("app", {"name": "top\n", "Dockerfile": DOCKERFILE})
    repositories.make("app", {"sub/name": "below\n", "sub/Dockerfile": DOCKERFILE})
    work = folder / "app.work"
    repositories.git("submodule", "--quiet", "add", str(folder / "part.git"), "part", cwd=work)
    modules = (work / ".gitmodules").read_text()
    (work / ".gitmodules").write_text(modules.replace(str(folder), ".."))
    repositories.git("add", "-A", cwd=work)
    repositories.commit("app")
    return f"ssh://root@{server.address}{folder}/app.git"


def test_a_context_and_add(ketchd: Ketchd, url: str, agent: Path, tmp_path: Path) -> None:
    lent = ("--no-cache", "--progress=plain", "--ssh", f"default={agent}")
    scp = "root@" + url.removeprefix("ssh://root@").replace("/", ":/", 1)
    for form, expected in ((f"{url}#main", "top"), (f"{url}#:sub", "below"), (scp, "top")):
        code, out = said(ketchd, "build", *lent, form)
        assert (code, f" {expected}\n" in out) == (0, True), out
    (tmp_path / "Dockerfile").write_text(
        f"FROM busybox\nADD {url} /a\nADD --keep-git-dir=true {scp}#main:sub /b\n"
        f"ADD --keep-git-dir=true {url} /c\n"
        "RUN cat /a/part/inside /b/name; ls -d /a/.git /c/.git; cat /c/.git/HEAD | wc -c\n"
    )
    code, out = said(ketchd, "build", *lent, str(tmp_path))
    assert (code, " of a submodule\n" in out, " below\n" in out) == (0, True, True), out
    assert " /c/.git\n" in out
    assert " /a/.git\n" not in out
    assert " 41\n" in out


def test_a_file_with_a_key(ketchd: Ketchd, url: str, server: SshServer) -> None:
    lent = ("--no-cache", "--progress=plain", "--ssh", f"default={server.folder}/user_key")
    code, out = said(ketchd, "build", *lent, f"{url}#main")
    assert (code, " top\n" in out) == (0, True), out
    code, out = said(ketchd, "build", "--ssh", f"default={server.folder}/user_key.pub", url)
    assert code == 1
    assert "no key that can be used" in out


def test_without_the_agent(ketchd: Ketchd, url: str) -> None:
    code, out = said(ketchd, "build", "--no-cache", url)
    assert code == 1
    assert "failed to fetch ssh://" in out
    assert "Permission denied" in out


def test_host_keys(
    ketchd: Ketchd, url: str, server: SshServer, agent: Path, tmp_path: Path
) -> None:
    lent = ("--ssh", f"default={agent}")
    wrong = tmp_path / "wrong"
    wrong.write_text(f"{server.address} {(server.folder / 'user_key.pub').read_text()}")
    text = f"FROM busybox\nADD {url} /a\n"
    for known, expected in ((server.folder / "known", 0), (wrong, 1)):
        secret = ("--secret", f"id=GIT_SSH_KNOWN_HOSTS,src={known}")
        code, out = build(ketchd, text, tmp_path, *lent, *secret)
        assert code == expected, out
    assert "Host key verification failed" in out
    mine = ("--secret", f"id=GIT_SSH_KNOWN_HOSTS.{server.address},src={server.folder}/known")
    code, out = build(ketchd, text, tmp_path, *lent, *secret, *mine)
    assert code == 0, out


async def test_as_buildx_asks(ketchd: Ketchd, url: str, agent: Path) -> None:
    client = Buildx(str(ketchd.socket))
    client.agents = {"default"}
    client.agent_socket = agent
    async with client.connected():
        outcome = await client.build({"context": f"{url}#main:sub", "no-cache": ""})
    assert outcome.response is not None
    assert "below\n" in outcome.logs
