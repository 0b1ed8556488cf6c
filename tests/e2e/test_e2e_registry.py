"""Registries: TLS with an authority of one's own, basic authentication, tokens, all tags,
platforms, search. Debian's docker-registry, driven by docker, ketch, docker-py and skopeo."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import docker
import pytest

from e2e.conftest import load_busybox
from e2e.ketch_program import KETCH
from e2e.ketchd_process import Ketchd, Terminal, busybox_tar, docker_path
from e2e.registry_process import Registry
from e2e.web_server import Answer, Web, serving

pytestmark = pytest.mark.root
DOCKER = docker_path() or "docker"
PROGRAMS = pytest.mark.parametrize("program", [DOCKER, KETCH])
USER, PASSWORD = "me", "s3cret:with/odd chars"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("plain") / "r") as registry:
        yield registry


@pytest.fixture(scope="module")
def guarded(ketchd: Ketchd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """With TLS that the daemon trusts by its certs-dir, and a password."""
    name = socket.gethostname()
    try:
        if not socket.gethostbyname(name).startswith("127."):
            pytest.skip("the machine's name is no loopback address")
    except OSError:
        pytest.skip("the machine's name has no address")
    folder = tmp_path_factory.mktemp("guarded") / "r"
    with Registry(folder, users={USER: PASSWORD}, host=name) as registry:
        certificates = ketchd.folder / "certs.d" / registry.address
        certificates.mkdir(parents=True)
        shutil.copy(registry.authority, certificates / "own-ca.crt")
        yield registry


class User:
    """A client program with a configuration of its own."""

    def __init__(self, program: str, ketchd: Ketchd, folder: Path) -> None:
        self.program = program
        self.config = folder / "config.json"
        self.env = {
            **os.environ,
            "DOCKER_HOST": f"unix://{ketchd.socket}",
            "DOCKER_CONFIG": str(folder),
            "DOCKER_CLI_HINTS": "false",
            "PATH": f"{folder}:{os.environ['PATH']}",
        }
        folder.mkdir(exist_ok=True)

    def run(
        self, *words: str, code: int | None = 0, input: str = ""
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.program, *words],
            env=self.env,
            input=input,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert code is None or done.returncode == code, (words, done.stdout, done.stderr)
        return done


@pytest.fixture
def user(ketchd: Ketchd, tmp_path: Path, program: str) -> User:
    return User(program, ketchd, tmp_path / "config")


@pytest.fixture
def anyone(ketchd: Ketchd, tmp_path: Path) -> User:
    return User(KETCH, ketchd, tmp_path / "anyone")


# passwords


@PROGRAMS
def test_login_push_pull_logout(user: User, guarded: Registry) -> None:
    name = f"{guarded.address}/team/app:1"
    user.run("tag", "busybox", name)
    denied = user.run("push", name, code=1)
    assert "push access denied" in denied.stderr
    assert "no basic auth credentials" in denied.stderr
    login = ("login", "-u", USER, "--password-stdin", guarded.address)
    wrong = user.run(*login, input="guess", code=1)
    assert "401 Unauthorized" in wrong.stderr
    assert not user.config.exists() or "auth" not in user.config.read_text().replace("auths", "")
    done = user.run(*login, input=f"{PASSWORD}\n")
    assert "Login Succeeded" in done.stdout
    assert "stored unencrypted" in done.stderr
    assert user.config.stat().st_mode & 0o777 == 0o600
    entry = json.loads(user.config.read_text())["auths"][guarded.address]
    assert base64.b64decode(entry["auth"]).decode() == f"{USER}:{PASSWORD}"
    assert "Login Succeeded" in user.run("login", guarded.address).stdout  # what is kept is good
    assert "digest: sha256:" in user.run("push", name).stdout
    user.run("rmi", name)
    assert "Downloaded newer image" in user.run("pull", name).stdout
    assert f"Removing login credentials for {guarded.address}" in (
        user.run("logout", guarded.address).stdout
    )
    assert json.loads(user.config.read_text())["auths"] == {}
    user.run("rmi", name)
    assert user.run("pull", name, code=1).stderr.startswith("Error response from daemon")


@PROGRAMS
def test_login_on_a_terminal(user: User, guarded: Registry) -> None:
    session = Terminal([user.program, "login", guarded.address], user.env)
    try:
        session.expect("Username: ")
        session.send(USER.encode() + b"\n")
        session.expect("Password: ")
        session.send(PASSWORD.encode() + b"\n")
        shown = session.expect("Login Succeeded")
        assert PASSWORD not in shown
        assert session.wait() == 0
    finally:
        session.close()
    assert guarded.address in json.loads(user.config.read_text())["auths"]


HELPER = """#!/usr/bin/env python3
import json, os, sys
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kept.json")
kept = json.load(open(path)) if os.path.exists(path) else {}
verb, text = sys.argv[1], sys.stdin.read()
if verb == "store":
    entry = json.loads(text)
    kept[entry["ServerURL"]] = entry
elif verb == "list":
    print(json.dumps({key: entry["Username"] for key, entry in kept.items()}))
elif text.strip() not in kept:
    sys.exit(print("credentials not found in native keychain") or 1)
elif verb == "get":
    print(json.dumps(kept[text.strip()]))
else:
    del kept[text.strip()]
json.dump(kept, open(path, "w"))
"""


@PROGRAMS
@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_credential_helpers(user: User, guarded: Registry, key: str, tmp_path: Path) -> None:
    helper = user.config.parent / "docker-credential-own"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    value: Any = "own" if key == "credsStore" else {guarded.address: "own"}
    user.config.write_text(json.dumps({key: value, "kept-by-others": 1}))
    name = f"{guarded.address}/helped:1"
    user.run("tag", "busybox", name)
    user.run("login", "-u", USER, "--password-stdin", guarded.address, input=PASSWORD)
    assert PASSWORD not in user.config.read_text()
    if user.program == KETCH:  # docker forgets keys that it does not know
        assert json.loads(user.config.read_text())["kept-by-others"] == 1
    kept = json.loads((user.config.parent / "kept.json").read_text())
    assert kept[guarded.address]["Secret"] == PASSWORD
    user.run("push", "-q", name)
    user.run("logout", guarded.address)
    assert json.loads((user.config.parent / "kept.json").read_text()) == {}
    assert user.run("push", name, code=1)
    user.run("rmi", name)


def test_a_helper_that_is_missing_is_named(anyone: User, guarded: Registry) -> None:
    anyone.config.write_text(json.dumps({"credsStore": "nope"}))
    done = anyone.run("pull", f"{guarded.address}/x:1", code=1)
    assert "docker-credential-nope" in done.stderr


def test_an_unknown_authority(ketchd: Ketchd, anyone: User, guarded: Registry) -> None:
    certificates = ketchd.folder / "certs.d" / guarded.address / "own-ca.crt"
    kept = certificates.read_bytes()
    certificates.unlink()
    try:
        done = anyone.run("pull", f"{guarded.address}/x:1", code=1)
        assert "certificate verify failed" in done.stderr
        certificates.write_text("no certificate")
        done = anyone.run("pull", f"{guarded.address}/x:1", code=1)
        assert "own-ca.crt" in done.stderr
    finally:
        certificates.write_bytes(kept)


def test_docker_py(ketchd: Ketchd, guarded: Registry) -> None:
    client = docker.DockerClient(base_url=f"unix://{ketchd.socket}")
    try:
        with pytest.raises(docker.errors.APIError, match="401"):
            client.login(USER, "guess", registry=guarded.address)
        answer = client.login(USER, PASSWORD, registry=guarded.address)
        assert answer["Status"] == "Login Succeeded"
        name = f"{guarded.address}/py"
        client.images.get("busybox").tag(name, "1")
        client.images.push(name, tag="1")
        data = client.images.get_registry_data(f"{name}:1")
        assert data.has_platform("linux/amd64")
        assert data.id.startswith("sha256:")
        client.images.remove(f"{name}:1")
        assert f"{name}:1" in client.images.pull(name, tag="1").tags
        client.images.remove(f"{name}:1")
    finally:
        client.close()


# tokens


def token_server(web: Web) -> None:
    """A registry that wants a token, from a server that takes a password or a refresh token."""

    def base(request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        if request.headers.get("Authorization") == "Bearer good":
            return 200, {}, b"{}"
        realm = f'Bearer realm="http://{web.address}/token",service="tests"'
        return 401, {"WWW-Authenticate": realm}, b'{"errors":[{"code":"UNAUTHORIZED"}]}'

    def token(request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if request.command == "POST" and b"refresh_token=once-and-for-all" in body:
            return 200, {}, b'{"access_token":"good"}'
        if request.headers.get("Authorization") == f"Basic {pair}":
            refresh = ',"refresh_token":"once-and-for-all"' if "offline" in request.path else ""
            return 200, {}, f'{{"token":"good"{refresh}}}'.encode()
        return 401, {}, b'{"details":"incorrect username or password"}'

    web.pages = {"/v2/": base, "/token": token}


@PROGRAMS
def test_token_servers(user: User) -> None:
    with serving() as web:
        token_server(web)
        login = ("login", "-u", USER, "--password-stdin", web.address)
        user.run(*login, input="guess", code=1)
        user.run(*login, input=PASSWORD)
        entry = json.loads(user.config.read_text())["auths"][web.address]
        assert entry["identitytoken"] == "once-and-for-all"
        assert PASSWORD not in base64.b64decode(entry["auth"]).decode()
        if user.program == KETCH:  # docker wants a terminal here
            assert "Login Succeeded" in user.run("login", web.address).stdout
            assert web.asked[-2][0] == "POST"


# tags and platforms


@PROGRAMS
def test_all_tags(user: User, plain: Registry, ketchd: Ketchd) -> None:
    repository = f"{plain.address}/tags-{Path(user.program).name}"
    ketchd.docker("import", "-", f"{repository}:other", input=busybox_tar() + bytes(512))
    for tag in ("1", "two"):
        user.run("tag", "busybox", f"{repository}:{tag}")
    said = user.run("push", "-a", repository).stdout
    for tag in ("1", "two", "other"):
        assert f"{tag}: digest: sha256:" in said
        user.run("rmi", f"{repository}:{tag}")
    user.run("pull", "-a", repository)
    shown = user.run("images", "--format", "{{.Tag}}", repository).stdout.split()
    assert sorted(shown) == ["1", "other", "two"]
    user.run("rmi", *(f"{repository}:{tag}" for tag in shown))
    assert "tag can't be used with --all-tags/-a" in (
        user.run("push", "-a", f"{repository}:1", code=None).stderr
    )
    assert user.run("pull", "-a", f"{plain.address}/no/such", code=1)


def put(url: str, data: bytes, media_type: str) -> None:
    subprocess.run(
        [
            "curl",
            "-sf",
            "-X",
            "PUT",
            "-H",
            f"Content-Type: {media_type}",
            "--data-binary",
            "@-",
            url,
        ],
        input=data,
        check=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def index(ketchd: Ketchd, plain: Registry) -> tuple[str, str]:
    """An index of linux/amd64 and linux/arm64 under ``…/multi:1``, and its digest."""
    entries = []
    for architecture in ("amd64", "arm64"):
        name = f"{plain.address}/multi:{architecture}"
        ketchd.docker(
            "import", "--platform", f"linux/{architecture}", "-m", architecture, "-", name,
            input=busybox_tar(),
        )  # fmt: skip
        said = ketchd.out("push", name)
        size = int(said.rpartition("size: ")[2].split()[0])
        digest = said.rpartition("digest: ")[2].split()[0]
        entries.append(
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest,
                "size": size,
                "platform": {"os": "linux", "architecture": architecture},
            }
        )
        ketchd.docker("rmi", name)
    kind = "application/vnd.oci.image.index.v1+json"
    document = {"schemaVersion": 2, "mediaType": kind, "manifests": entries}
    data = json.dumps(document).encode()
    put(f"http://{plain.address}/v2/multi/manifests/1", data, kind)
    return f"{plain.address}/multi:1", "sha256:" + hashlib.sha256(data).hexdigest()


@PROGRAMS
def test_platforms(user: User, index: tuple[str, str], tmp_path: Path) -> None:
    name, digest = index
    user.run("pull", "--platform", "linux/arm64", name)
    shape = "{{.Architecture}}"
    assert user.run("image", "inspect", "-f", shape, name).stdout == "arm64\n"
    user.run("rmi", name)
    assert digest in user.run("pull", name).stdout
    assert user.run("image", "inspect", "-f", shape, name).stdout == "amd64\n"
    assert f"{name.removesuffix(':1')}@{digest}" in (
        user.run("image", "inspect", "-f", "{{json .RepoDigests}}", name).stdout
    )
    done = user.run("pull", "--platform", "linux/s390x", name, code=1)
    assert "no matching manifest for linux/s390x" in done.stderr
    wrong = ("--platform", "linux/arm64", name)
    asked = [("push", *wrong)]
    if user.program == DOCKER:
        asked += [("image", "inspect", *wrong), ("history", *wrong)]
        asked += [("save", "-o", str(tmp_path / "x"), *wrong)]
    for words in asked:
        done = user.run(*words, code=None)
        assert done.returncode != 0, words
        assert "does not provide the specified platform (linux/arm64)" in done.stderr, words
    user.run("rmi", name)


def test_a_layout_of_several_platforms(
    ketchd: Ketchd, index: tuple[str, str], tmp_path: Path
) -> None:
    name, _ = index
    folder = tmp_path / "layout"
    skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{name}", f"oci:{folder}:a.b/m:1")
    archive = tmp_path / "layout.tar"
    subprocess.run(["tar", "-C", folder, "-cf", archive, "."], check=True)
    shape = "{{.Architecture}}"
    for platform, expected in ((("--platform", "linux/arm64"), "arm64"), ((), "amd64")):
        said = ketchd.out("load", *platform, "-i", str(archive))
        assert "Loaded image: a.b/m:1" in said
        assert ketchd.out("image", "inspect", "-f", shape, "a.b/m:1") == expected
    arm64 = ("--platform", "linux/arm64")
    assert ketchd.out("image", "inspect", *arm64, "-f", shape, "a.b/m:1") == "arm64"
    ketchd.docker("rmi", "a.b/m:1")
    done = ketchd.docker("load", "--platform", "linux/s390x", "-i", str(archive), code=1)
    assert b"does not provide the specified platform (linux/s390x)" in done.stderr


def test_manifests_of_what_was_pulled(ketchd: Ketchd, index: tuple[str, str]) -> None:
    name, _ = index
    ketchd.docker("pull", name)
    client = docker.APIClient(base_url=f"unix://{ketchd.socket}", version="1.48")
    try:
        url = client._url("/images/{0}/json", name)
        shown = client._result(client._get(url, params={"manifests": "1"}), True)
        manifest, other = shown["Manifests"]
        assert (manifest["Kind"], other["Kind"]) == ("image", "image")
        assert (manifest["Available"], other["Available"]) == (True, False)
        assert shown["Descriptor"]["digest"] == index[1]
        assert manifest["ImageData"]["Platform"] == {"architecture": "amd64", "os": "linux"}
        rows = client._result(
            client._get(client._url("/images/json"), params={"manifests": "1"}), True
        )
        (mine,) = [row for row in rows if name in row["RepoTags"]]
        assert mine["Manifests"][0]["ID"] == manifest["ID"]
        assert "Manifests" not in client.inspect_image(name)
    finally:
        client.close()
        ketchd.docker("rmi", name)


def test_distribution_tells_of_an_index(ketchd: Ketchd, index: tuple[str, str]) -> None:
    name, digest = index
    client = docker.APIClient(base_url=f"unix://{ketchd.socket}")
    try:
        found = client.inspect_distribution(name)
        assert found["Descriptor"]["digest"] == digest
        assert found["Descriptor"]["mediaType"].endswith("index.v1+json")
        assert [p["architecture"] for p in found["Platforms"]] == ["amd64", "arm64"]
        with pytest.raises(docker.errors.NotFound):
            client.inspect_distribution(name + "x")
    finally:
        client.close()


def skopeo(*words: str) -> str:
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *words], capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_skopeo_both_ways(ketchd: Ketchd, plain: Registry, tmp_path: Path) -> None:
    name = f"{plain.address}/sk/busy:1"
    ketchd.docker("tag", "busybox", name)
    ketchd.docker("push", name)
    source = f"docker://{name}"
    identity = ketchd.out("image", "inspect", "-f", "{{.Id}}", "busybox")
    seen = json.loads(skopeo("inspect", "--tls-verify=false", source))
    assert seen["Architecture"] == "amd64"
    for kind in ("docker-archive", "oci-archive"):
        path = tmp_path / f"{kind}.tar"
        skopeo("copy", "--src-tls-verify=false", source, f"{kind}:{path}:x.y/{kind}:9")
        assert f"Loaded image: x.y/{kind}:9" in ketchd.out("load", "-i", str(path))
        assert ketchd.out("run", "--rm", f"x.y/{kind}:9", "echo", kind) == kind
        assert ketchd.out("image", "inspect", "-f", "{{.Id}}", f"x.y/{kind}:9") == identity
        ketchd.docker("rmi", f"x.y/{kind}:9")
    saved = tmp_path / "saved.tar"
    saved.write_bytes(ketchd.docker("save", name).stdout)
    for kind in ("docker-archive", "oci-archive"):
        found = json.loads(skopeo("inspect", f"{kind}:{saved}"))
        assert found["Layers"]
    again = f"{plain.address}/sk/again:1"
    skopeo("copy", "--dest-tls-verify=false", f"docker-archive:{saved}", f"docker://{again}")
    ketchd.docker("rmi", name)
    ketchd.docker("pull", again)
    assert ketchd.out("run", "--rm", again, "echo", "again") == "again"
    ketchd.docker("rmi", again)
    if not ketchd.out("images", "-q", "busybox"):
        load_busybox(ketchd)


def test_skopeo_and_our_socket(ketchd: Ketchd) -> None:
    """Debian's skopeo asks for API 1.22, which Docker 25 and later refuse in the same words."""
    done = subprocess.run(
        ["skopeo", "--insecure-policy", "inspect", "--daemon-host", f"unix://{ketchd.socket}",
         "docker-daemon:busybox:latest"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode
    assert "is too old. Minimum supported API version is 1.24, please upgrade" in done.stderr


@PROGRAMS
def test_what_push_and_pull_say(user: User, plain: Registry) -> None:
    """Compared with dockerd 20.10, line by line."""
    repository = f"{plain.address}/said-{Path(user.program).name}"
    nothing = user.run("push", f"{repository}:1", code=1)
    assert nothing.stdout.startswith(f"The push refers to repository [{repository}]")
    said = f"An image does not exist locally with the tag: {repository}"
    assert nothing.stderr.strip().endswith(said)
    user.run("tag", "busybox", f"{repository}:1")
    assert (
        f"tag does not exist: {repository}:2" in user.run("push", f"{repository}:2", code=1).stderr
    )
    user.run("push", f"{repository}:1")
    lines = user.run("pull", f"{repository}:1").stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "1",
        "Digest",
        "Status",
        plain.address.split(":")[0],
    ]
    assert lines[2] == f"Status: Image is up to date for {repository}:1"
    lines = user.run("pull", "-a", repository).stdout.splitlines()
    assert f"Status: Image is up to date for {repository}" in lines
    user.run("rmi", f"{repository}:1")
    wrong = user.run("images", "--filter", "dangling=maybe", code=1)
    assert "invalid filter 'dangling=[maybe]'" in wrong.stderr


# search and import


RESULTS = [
    {"name": "library/one", "description": "first\nline", "star_count": 7, "is_official": True},
    {"name": "me/two", "description": "x" * 80, "star_count": 9, "is_official": False},
    {"name": "me/three", "description": None, "star_count": 1},
]


@PROGRAMS
def test_search(user: User) -> None:
    with serving() as web:
        web.pages["/v1/search"] = {"num_results": 3, "query": "x y", "results": RESULTS}
        shown = user.run("search", f"{web.address}/x y").stdout
        assert [line.split()[0] for line in shown.splitlines()] == [
            "NAME", "library/one", "me/two", "me/three",
        ]  # fmt: skip
        assert "first line" in shown
        assert "[OK]" in shown
        assert "x" * 44 + "…" in shown
        assert web.asked[-1][1].startswith("/v1/search?q=x%20y&n=") or "q=x+y" in web.asked[-1][1]
        for words, names in (
            (("--filter", "stars=5"), ["library/one", "me/two"]),
            (("--filter", "is-official=true"), ["library/one"]),
            (("--limit", "1"), ["library/one"]),
        ):
            done = user.run("search", "--format", "{{.Name}}", *words, f"{web.address}/x")
            assert done.stdout.split() == names
        for words, said in (
            (("--limit", "101"), "outside the range of [1, 100]"),
            (("--filter", "bogus=1"), "invalid filter 'bogus'"),
        ):
            assert said in user.run("search", *words, f"{web.address}/x", code=1).stderr
        del web.pages["/v1/search"]
        assert "has no search" in user.run("search", f"{web.address}/x", code=1).stderr
    assert "cannot reach" in user.run("search", "127.0.0.1:1/x", code=1).stderr


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b'{"results":[{"name":1}]}', b"\xff", b"{" * 5000, b"[" * 5_000_000]
)
def test_an_index_that_lies(ketchd: Ketchd, answer: bytes) -> None:
    with serving() as web:
        web.pages["/v1/search"] = answer
        done = ketchd.docker("search", f"{web.address}/x", code=1)
        assert b"nonsense" in done.stderr or b"answered more than" in done.stderr


@PROGRAMS
def test_import_of_a_url(user: User) -> None:
    with serving() as web:
        web.pages["/root.tar"] = busybox_tar()
        url = f"http://{web.address}/root.tar"
        user.run("import", "-c", 'CMD ["echo", "imported"]', "-m", "by url", url, "from-url:1")
        assert user.run("run", "--rm", "from-url:1").stdout == "imported\n"
        comment = ("image", "inspect", "-f", "{{.Comment}}")
        assert user.run(*comment, "from-url:1").stdout == "by url\n"
        user.run("import", url, "from-url:1")
        assert user.run(*comment, "from-url:1").stdout == f"Imported from {url}\n"
        user.run("rmi", "from-url:1")
        done = user.run("import", f"http://{web.address}/nope.tar", "from-url:2", code=1)
        assert "404" in done.stderr
    for broken in (url, "http://[x/", "http://a..b/", "http://x:99999/"):
        said = user.run("import", broken, "from-url:2", code=1).stderr
        assert broken.removeprefix("http://")[:5] in said
        assert "nternal" not in said


def test_registry_mirrors_and_bad_tags(ketchd: Ketchd) -> None:
    """A list of tags that lies is refused, whatever it holds."""
    with serving() as web:
        for page in (b"{", {"tags": ["../etc"]}, {"tags": "x"}, {"tags": [None]}):
            web.pages = {"/v2/evil/tags/list": page, "/v2/": b"{}"}
            done = ketchd.docker("pull", "-a", f"{web.address}/evil", code=1)
            assert b"tag" in done.stderr

        def endless(request: BaseHTTPRequestHandler, body: bytes) -> Answer:
            return 200, {"Link": '</v2/evil/tags/list?last=a>; rel="next"'}, b'{"tags":["a"]}'

        web.pages["/v2/evil/tags/list"] = endless
        done = ketchd.docker("pull", "-a", f"{web.address}/evil", code=1)
        assert b"no end" in done.stderr
