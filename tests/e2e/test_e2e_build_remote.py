"""ADD of repositories; contexts from repositories, archives and Dockerfiles by URL."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit.buildx import Buildx
from e2e import web_server
from e2e.git_server import BACKEND, Repositories, serving
from e2e.ketch_program import KETCH, ketch
from e2e.ketchd_process import Ketchd
from e2e.test_e2e_buildkit_cli import build as by_buildkit
from e2e.test_e2e_buildkit_cli import is_old_enough

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.access(BACKEND, os.X_OK), reason="needs git"),
]
DOCKERFILE = "FROM busybox\nCOPY . /src/\nRUN ls -A /src && cat /src/name\n"


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repositories]:
    with serving(tmp_path_factory.mktemp("git")) as repositories:
        yield repositories


@pytest.fixture(scope="module")
def commits(git: Repositories) -> list[str]:
    """Of the repository ``app``: v1 and the head of main, of which ``dev`` is a branch."""
    first = git.make("app", {"name": "one\n", "Dockerfile": DOCKERFILE, "sub/Dockerfile": "x"})
    work = git.folder / "app.work"
    git.git("tag", "-a", "-m", "x", "v1", cwd=work)
    files = {"name": "two\n", "sub/Dockerfile": DOCKERFILE, "sub/name": "below\n"}
    second = git.make("app", {**files, ".dockerignore": "ignored\n", "ignored": "x"})
    git.git("branch", "dev", cwd=work)
    git.publish("app")
    return [first, second]


def said(daemon: Ketchd, *words: str, **options: object) -> tuple[int, str]:
    """The exit code and everything written."""
    done = ketch(daemon, *words, code=None, **options)  # type: ignore[arg-type]
    return done.returncode, (done.stdout + done.stderr).decode()


def build(daemon: Ketchd, text: str, tmp_path: Path, *words: str) -> tuple[int, str]:
    (tmp_path / "Dockerfile").write_text(text)
    return said(daemon, "build", "--no-cache", "--progress=plain", *words, str(tmp_path))


FORMS = [  # what stands behind the repository's URL, what its file ``name`` says
    ("", "two"),
    ("#main", "two"),
    ("#v1", "one"),
    ("#refs/tags/v1", "one"),
    ("#:sub", "below"),
    ("#main:sub", "below"),
    ("?branch=dev&subdir=sub", "below"),
    ("?tag=v1", "one"),
    ("#{first}", "one"),
    ("#{short}", "one"),
    ("?ref={first}&checksum={first}", "one"),
]


@pytest.mark.parametrize(("form", "name"), FORMS)
@pytest.mark.parametrize("kind", ["", "/dumb"])
def test_add_of_a_repository(
    ketchd: Ketchd, git: Repositories, commits: list[str], tmp_path: Path, form: str, name: str,
    kind: str,
) -> None:  # fmt: skip
    url = f"{git.address}{kind}/app.git" + form.format(first=commits[0], short=commits[0][:9])
    text = f"FROM busybox\nADD {url} /r\nRUN cat /r/name; ls -A /r; ls -la /r\n"
    code, out = build(ketchd, text, tmp_path)
    assert code == 0, out
    assert f" {name}\n" in out
    assert ".git\n" not in out


def test_the_same_commit_is_the_same_layer_and_git_stays_when_asked(
    ketchd: Ketchd, git: Repositories, commits: list[str], tmp_path: Path
) -> None:
    url = f"{git.address}/app.git"
    layers = set()
    for _ in range(2):
        build(ketchd, f"FROM scratch\nADD {url}#v1 /\n", tmp_path, "-t", "gitlayer")
        layers.add(ketchd.out("image", "inspect", "-f", "{{.RootFS.Layers}}", "gitlayer"))
    ketchd.docker("rmi", "gitlayer")
    assert len(layers) == 1
    text = f"FROM busybox\nADD --keep-git-dir=true --checksum={commits[1]} {url} /r\nRUN ls -A /r\n"
    text += f"ADD --keep-git-dir=true {url}#v1 /v\nRUN ls /v/.git/refs/tags\n"
    code, out = build(ketchd, text, tmp_path)
    assert (code, " .git\n" in out, " v1\n" in out) == (0, True, True)  # for git describe
    wrong = build(ketchd, f"FROM busybox\nADD --checksum={commits[0]} {url} /r\n", tmp_path)
    assert wrong[0] == 1
    assert f"expected checksum to match {commits[0]}, got {commits[1]}" in wrong[1]
    assert "   2 | >>> ADD" in wrong[1]


HOSTILE = [
    ("#--upload-pack=touch /tmp/owned", "invalid git ref"),
    ("#-x", "invalid git ref"),
    ("#a:../..", "invalid subdirectory"),
    ("#+refs/heads/main", "invalid git ref"),
    ("#main:link", "links are not followed"),
    ("#main:link/below", "links are not followed"),
    ("#main:nothing", "has no directory 'nothing'"),
    ("#nobranch", "failed to fetch"),
    ("?brunch=x", "did you mean branch?"),
    ("?branch=a&tag=b", "can have only one of"),
]


@pytest.mark.parametrize(("form", "message"), HOSTILE)
def test_hostile_urls_and_links(
    ketchd: Ketchd, git: Repositories, tmp_path: Path, form: str, message: str
) -> None:
    if not (git.folder / "links.work").exists():
        git.make("links", {"x/y": "1"}, {"link": "/etc"})
    url = f"{git.address}/links.git{form}"
    code, out = build(ketchd, f'FROM busybox\nADD ["{url}", "/r"]\n', tmp_path)
    assert (code, message in out) == (1, True), out
    code, out = said(ketchd, "build", url)
    assert (code, message in out) == (1, True), out


def test_hostile_repositories(ketchd: Ketchd, git: Repositories, tmp_path: Path) -> None:
    """Filters, hooks and monitors of a repository's own are not run."""
    mark = tmp_path / "owned"
    git.make(
        "evil",
        {
            ".gitattributes": "* filter=evil diff=evil\n",
            ".gitconfig": f'[filter "evil"]\nsmudge = touch {mark}\n[core]\nfsmonitor = x\n',
            ".git-hooks/post-checkout": f"#!/bin/sh\ntouch {mark}\n",
            "name": "x\n",
        },
    )
    code, out = build(ketchd, f"FROM busybox\nADD {git.address}/evil.git /r\n", tmp_path)
    assert (code, mark.exists()) == (0, False), out


@pytest.mark.parametrize(
    "url",
    ["ext::sh -c 'touch /tmp/owned'", "file:///etc", "/etc", "-x", "ssh://-oProxyCommand=x/y"],
)
def test_hostile_submodules(ketchd: Ketchd, git: Repositories, tmp_path: Path, url: str) -> None:
    text = f'[submodule "s"]\n\tpath = s\n\turl = "{url}"\n'
    git.make("subevil", {".gitmodules": text})
    code, out = build(ketchd, f"FROM busybox\nADD {git.address}/subevil.git /r\n", tmp_path)
    assert (code, "submodule URL" in out and "is refused" in out) == (1, True), out


def test_submodules(ketchd: Ketchd, git: Repositories, tmp_path: Path) -> None:
    commit = git.make("library", {"lib": "content of the library\n"})
    git.make("parent", {".gitmodules": '[submodule "l"]\n\tpath = l\n\turl = ../library.git\n'})
    work = git.folder / "parent.work"
    git.git("update-index", "--add", "--cacheinfo", f"160000,{commit},l", cwd=work)
    git.commit("parent")
    url = f"{git.address}/parent.git"
    code, out = build(ketchd, f"FROM busybox\nADD {url} /r\nRUN cat /r/l/lib\n", tmp_path)
    assert (code, "content of the library" in out) == (0, True), out
    code, out = build(
        ketchd, f"FROM busybox\nADD {url}?submodules=false /r\nRUN ls /r/l\n", tmp_path
    )
    assert (code, "content" in out) == (0, False), out


def test_private_repository(
    ketchd: Ketchd, git: Repositories, commits: list[str], tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(git.token)
    text = f"FROM busybox\nADD {git.address}/private/app.git /r\nRUN cat /r/name\n"
    assert build(ketchd, text, tmp_path)[0] == 1
    words = ("--secret", f"id=GIT_AUTH_TOKEN,src={token}")
    code, out = build(ketchd, text, tmp_path, *words)
    assert (code, " two\n" in out) == (0, True), out
    assert git.token not in out


def test_accounts_are_told_nobody(
    ketchd: Ketchd, git: Repositories, commits: list[str], tmp_path: Path
) -> None:
    """Of URLs: not in the image's history, progress, the build's history, errors, provenance."""
    server = git.address.replace("://", "://{}@")
    alone, both = server.format("hidden-1"), server.format("me:hidden-2")
    text = f"FROM busybox\nADD {alone}/app.git /r\nADD {both}/dumb/app.git/HEAD /h\n"
    words = (
        "-t",
        "accounts",
        "--provenance=mode=min",
        "-o",
        str(tmp_path / "out"),
        "-o",
        "type=image",
    )
    code, out = build(ketchd, text, tmp_path, *words)
    assert code == 0, out
    told = [out, (tmp_path / "out/provenance.json").read_text()]
    told.append(ketchd.docker("history", "--no-trunc", "accounts").stdout.decode())
    told += [said(ketchd, "build", f"{url}/app.git")[1] for url in (alone, both)]
    told.append(said(ketchd, "build", f"{alone}/nothing.git?x=y")[1])
    told.append(build(ketchd, f"FROM scratch\nADD {both}/nothing /\n", tmp_path)[1])
    for number in range(4):
        told.append(said(ketchd, "build", "history", "inspect", f"^{number}")[1])
    told.append(said(ketchd, "build", "history", "logs", "^3")[1])
    shown = "\n".join(told)
    assert f"ADD {server.format('xxxxx')}/app.git /r" in shown
    assert f"load git source {server.format('xxxxx:xxxxx')}/app.git" in shown
    excerpts = [line for line in shown.split("\n") if "hidden" in line and " | " not in line]
    assert excerpts == []


def test_context_from_a_repository(
    ketchd: Ketchd, git: Repositories, commits: list[str], tmp_path: Path
) -> None:
    url = f"{git.address}/app.git"
    code, out = said(ketchd, "build", "--no-cache", url)
    assert (code, " two\n" in out, " ignored\n" in out) == (0, True, False), out
    code, out = said(ketchd, "build", "--no-cache", f"{url}#main:sub")
    assert (code, " below\n" in out) == (0, True), out
    assert said(ketchd, "build", "--check", url)[0] == 0
    _check_provenance(ketchd, url, commits[1], tmp_path)
    code, out = said(ketchd, "build", "-f", "nothing", url)
    assert (code, "Cannot locate specified Dockerfile: nothing" in out) == (1, True)
    text = "FROM busybox\nCOPY --from=app name /\nRUN cat /name\nFROM app\nCOPY --from=0 /name /n\n"
    code, out = build(ketchd, text, tmp_path, "--build-context", f"app={url}#v1")
    assert (code, " one\n" in out) == (0, True), out


def _check_provenance(ketchd: Ketchd, url: str, commit: str, tmp_path: Path) -> None:
    """It names what was fetched: the context, and what steps add."""
    words = ("--provenance=mode=min", "-o", str(tmp_path / "out"))
    assert said(ketchd, "build", *words, f"{url}#main")[0] == 0
    told = json.loads((tmp_path / "out/provenance.json").read_text())["predicate"]
    source = {"uri": f"{url}#main", "digest": {"sha1": commit}}
    assert told["invocation"]["configSource"] == {**source, "entryPoint": "Dockerfile"}
    assert source in told["materials"]
    assert told["metadata"]["completeness"]["materials"]
    text = f"FROM scratch\nADD {url} /r\nADD {url.replace('/app', '/dumb/app')}/HEAD /h\n"
    assert build(ketchd, text, tmp_path, *words)[0] == 0
    told = json.loads((tmp_path / "out/provenance.json").read_text())["predicate"]
    repository, file = told["materials"]
    assert repository == {"uri": url, "digest": {"sha1": commit}}
    assert list(file["digest"]) == ["sha256"]
    assert not told["metadata"]["completeness"]["materials"]


def test_context_from_an_archive_or_a_dockerfile(ketchd: Ketchd, tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in (("Dockerfile", DOCKERFILE), ("name", "archived\n")):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    with web_server.serving() as web:
        web.pages = {"/a.tgz": out.getvalue(), "/Dockerfile": b"FROM busybox\nRUN echo lone\n"}
        code, shown = said(ketchd, "build", "--no-cache", f"http://{web.address}/a.tgz")
        assert (code, " archived\n" in shown) == (0, True), shown
        code, shown = said(ketchd, "build", "--no-cache", f"http://{web.address}/Dockerfile")
        assert (code, " lone\n" in shown) == (0, True), shown
        code, shown = said(ketchd, "build", f"http://{web.address}/nothing")
        assert (code, "404" in shown) == (1, True)
        text = "FROM scratch\nCOPY --from=a name /\n"
        named = ("--build-context", f"a=http://{web.address}/a.tgz")
        wanted = ("--provenance=true", "-o", str(tmp_path / "out"))
        code, shown = build(ketchd, text, tmp_path, *named, *wanted)
        assert code == 0, shown
        digest = {"sha256": hashlib.sha256(out.getvalue()).hexdigest()}
        archive = {"uri": f"http://{web.address}/a.tgz", "digest": digest}
        told = json.loads((tmp_path / "out/provenance.json").read_text())["predicate"]
        assert told["materials"] == [archive]
        assert told["invocation"]["configSource"] == {"entryPoint": "Dockerfile"}
        assert said(ketchd, "build", *wanted, archive["uri"])[0] == 0
        told = json.loads((tmp_path / "out/provenance.json").read_text())["predicate"]
        assert told["materials"][1:] == [archive]
        assert told["invocation"]["configSource"] == {**archive, "entryPoint": "Dockerfile"}
        assert told["metadata"]["completeness"]["materials"]


async def test_buildkit_with_a_repository(
    ketchd: Ketchd, git: Repositories, commits: list[str], tmp_path: Path
) -> None:
    client = Buildx(str(ketchd.socket))
    client.directories = {"dockerfile": tmp_path}
    url = f"{git.address}/app.git#v1"
    async with client.connected():
        outcome = await client.build({"context": url, "no-cache": ""})
    assert "one\n" in outcome.logs
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY name /\nRUN echo own; cat /name\n")
    attrs = {"context": url, "dockerfilekey": "dockerfile", "context:app": url, "no-cache": ""}
    async with client.connected():
        outcome = await client.build(attrs)
    assert "own\none\n" in outcome.logs


@pytest.mark.skipif(not is_old_enough(), reason="needs docker 19 or 20 (docker.io)")
def test_the_client_inside_dockers_command_line(
    ketchd: Ketchd, git: Repositories, commits: list[str]
) -> None:
    """The daemon once asked it for files, which it does not offer then."""
    done = by_buildkit(ketchd, "--progress=plain", "--no-cache", f"{git.address}/app.git#v1")
    assert (done.returncode, "one\n" in done.stderr) == (0, True), done.stderr
    with web_server.serving() as web:
        web.pages = {"/d": b"FROM busybox\nRUN echo by url\n"}
        done = by_buildkit(ketchd, "--progress=plain", "--no-cache", f"http://{web.address}/d")
    assert (done.returncode, "by url\n" in done.stderr) == (0, True), done.stderr


def test_own_dockerfile_for_a_context_by_url(
    ketchd: Ketchd, git: Repositories, commits: list[str]
) -> None:
    text = b"FROM busybox\nCOPY name /\nRUN echo mine; cat /name\n"
    url = f"{git.address}/app.git#v1"
    code, out = said(ketchd, "build", "--no-cache", "-f", "-", url, input=text)
    assert (code, " mine\n" in out, " one\n" in out) == (0, True, True), out
    with web_server.serving() as web:
        web.pages = {"/d": text}
        code, out = said(ketchd, "build", "--no-cache", "-f", f"http://{web.address}/d", url)
        assert (code, " mine\n" in out) == (0, True), out


def test_directories_as_named_contexts(ketchd: Ketchd, tmp_path: Path) -> None:
    for name in ("main", "one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(f"in {name}\n")
    (tmp_path / "one/.dockerignore").write_text("secret\n")
    (tmp_path / "one/secret").write_text("never sent")
    (tmp_path / "main/.dockerignore").write_text("**\n")
    text = (
        "FROM busybox\nCOPY --from=one . /1\nRUN --mount=from=two,target=/2 "
        "cat /1/file /2/file; ls /1\nCOPY . /main\nRUN ls -A /main | wc -l\n"
    )
    words = [f"--build-context={name}={tmp_path / name}" for name in ("one", "two")]
    code, out = build(ketchd, text, tmp_path / "main", *words)
    assert (code, " in one\n" in out, " in two\n" in out) == (0, True, True), out
    assert " secret\n" not in out
    code, out = build(ketchd, text, tmp_path / "main", "--build-context=one=/no/where")
    assert (code, "/no/where is no directory" in out) == (1, True)


@pytest.mark.parametrize("instruction", ["", "ADD {url} /x\n"])
def test_git_ends_with_its_build(ketchd: Ketchd, tmp_path: Path, instruction: str) -> None:
    """A server that never answers; the client is killed, so git lets go of the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.git"
        (tmp_path / "Dockerfile").write_text("FROM busybox\n" + instruction.format(url=url))
        command = [KETCH, "build", str(tmp_path) if instruction else url]
        environment = {**os.environ, "KETCH_HOST": f"unix://{ketchd.socket}"}
        client = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        with server.accept()[0] as connection:
            connection.settimeout(60)
            assert connection.recv(4) == b"GET "
            client.kill()
            client.wait()
            while connection.recv(4096):
                pass
