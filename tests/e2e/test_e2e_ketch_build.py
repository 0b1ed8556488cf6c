"""``ketch build``: its displays, what it lends to a build, the history and its picture."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import tarfile
import threading
import xml.etree.ElementTree as xml
from contextlib import suppress
from pathlib import Path

import pytest

from e2e.ketch_program import KETCH, ketch
from e2e.ketchd_process import Ketchd, Terminal
from e2e.unix_http import UnixConnection
from ketch.cli.tar_entries import END, of_bytes

pytestmark = pytest.mark.root


def run(daemon: Ketchd, *words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    """``ketch`` with any exit code."""
    return ketch(daemon, *words, code=None, **options)  # type: ignore[arg-type]


STAGES = """FROM busybox AS one
RUN echo from-one > /one && echo said
FROM busybox AS two
RUN echo from-two > /two
FROM busybox
LABEL a=b
COPY --from=one /one /
COPY --from=two /two /
"""


def folder(tmp_path: Path, text: str) -> str:
    (tmp_path / "Dockerfile").write_text(text)
    return str(tmp_path)


def test_plain_progress_and_its_history(ketchd: Ketchd, tmp_path: Path) -> None:
    done = run(ketchd, "build", "--no-cache", "-t", "hist:1", folder(tmp_path, STAGES))
    assert done.returncode == 0
    shown = done.stderr.decode()
    assert "[one 2/2] RUN echo from-one > /one && echo said\n" in shown
    assert any(line.endswith(" said") for line in shown.splitlines())
    assert "LABEL" not in shown
    assert b"Successfully tagged hist:1" in done.stdout
    again = run(ketchd, "build", "-t", "hist:1", str(tmp_path)).stderr.decode()
    assert again.count(" CACHED") == 5  # the image, once, and each step
    logs = run(ketchd, "build", "history", "logs", "^1").stdout.decode()
    assert sorted(logs.splitlines()) == sorted(shown.splitlines())
    record = json.loads(run(ketchd, "build", "history", "inspect", "^1").stdout)
    assert (record["Status"], record["Tags"]) == ("completed", ["hist:1"])
    listed = run(ketchd, "builder", "history", "ls", "--format", "json").stdout.splitlines()
    assert json.loads(listed[1])["Ref"] == record["Ref"][:12]
    run(ketchd, "build", "history", "rm", record["Ref"])
    gone = run(ketchd, "build", "history", "inspect", record["Ref"])
    assert (gone.returncode, b"no such build" in gone.stderr) == (1, True)


def test_a_quiet_build_is_told_its_outcome_alone(ketchd: Ketchd, tmp_path: Path) -> None:
    context = folder(tmp_path, "FROM busybox\nRUN sleep 0.05; echo said\n")
    quiet = [run(ketchd, "build", "-q", *more, context).stdout for more in (["--no-cache"], [], [])]
    assert quiet[1] == quiet[2] == quiet[0]
    assert "said" in run(ketchd, "build", "history", "logs", "^2").stdout.decode()
    with tarfile.open(tmp_path / "context.tar", "w") as tar:
        tar.add(tmp_path / "Dockerfile", "Dockerfile")
    for query, lines in (("&q=1", ["built"]), ("", ["began", "ended", "built"])):
        connection = UnixConnection(str(ketchd.socket))
        archive = (tmp_path / "context.tar").read_bytes()
        connection.request("POST", f"/build?progress=events{query}", archive)
        answer = connection.getresponse().read().splitlines()
        connection.close()
        types = list(dict.fromkeys(json.loads(line)["type"] for line in answer))
        assert [each for each in types if each in lines] == lines
        assert len(types) == 1 or not query
        assert json.loads(answer[-1])["image"] == quiet[0].decode().strip()


@pytest.mark.skipif(
    tuple(int(part) for part in os.uname().release.split(".")[:2]) < (6, 5), reason="Linux 6.5"
)
def test_what_steps_write_is_not_synced_but_as_a_layer(ketchd: Ketchd, tmp_path: Path) -> None:
    """A step's root is volatile (Documentation/filesystems/overlayfs.rst), no container's is."""
    mark = "grep -q '^overlay / .*volatile' /proc/mounts"
    text = (
        f"FROM busybox AS base\nFROM busybox\nRUN --mount=from=base,target=/b,rw {mark} && sync\n"
    )
    text += "RUN --mount=from=base,target=/b,rw grep -q '^overlay /b .*volatile' /proc/mounts\n"
    done = run(ketchd, "build", "--no-cache", "-q", "-t", "unsynced", folder(tmp_path, text))
    assert done.returncode == 0, done.stderr.decode()
    assert run(ketchd, "run", "--rm", "unsynced", "sh", "-c", mark).returncode == 1


def test_the_picture_of_a_build(ketchd: Ketchd, tmp_path: Path) -> None:
    run(ketchd, "build", "-q", "--no-cache", folder(tmp_path, STAGES))
    picture = run(ketchd, "build", "history", "show", "--type", "svg").stdout.decode()
    root = xml.fromstring(picture)
    texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"one", "two", "stage-2"} <= set(texts)
    assert any(text.startswith("RUN echo from-one") for text in texts)
    kinds = [node.get("class") for node in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert kinds.count("chain") >= 4  # one of the legend, a stage's steps, COPY, export
    page = tmp_path / "page.html"
    run(ketchd, "build", "history", "show", "-o", str(page))
    assert "The slowest steps" in page.read_text()
    text = (
        "FROM busybox AS a\nRUN sleep 60\nFROM busybox\nRUN true\nRUN exit 3\nCOPY --from=a /x /\n"
    )
    run(ketchd, "build", "-q", "--no-cache", folder(tmp_path, text))
    root = xml.fromstring(run(ketchd, "build", "history", "show", "--type", "svg").stdout.decode())
    kinds = [node.get("class") for node in root.iter("{http://www.w3.org/2000/svg}rect")]
    found = {kind: kinds.count(kind) for kind in ("failed", "canceled", "chain")}
    assert found == {"failed": 2, "canceled": 1, "chain": 2}  # two of them are the legend's


def test_raw_json_is_buildkits(ketchd: Ketchd, tmp_path: Path) -> None:
    text = folder(tmp_path, "FROM busybox\nRUN echo hello\nCMD warned\n")
    done = run(ketchd, "build", "--no-cache", "--progress", "rawjson", text)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    vertices = [vertex for line in lines for vertex in line.get("vertexes", ())]
    assert {"[1/2] FROM docker.io/library/busybox:latest", "[2/2] RUN echo hello"} <= {
        v["name"] for v in vertices
    }
    assert any("completed" in vertex for vertex in vertices)
    logs = b"".join(base64.b64decode(log["data"]) for line in lines for log in line.get("logs", ()))
    assert logs == b"hello\n"
    (warning,) = (found for line in lines for found in line.get("warnings", ()))
    short = base64.b64decode(warning["short"])
    assert short.startswith(b"JSONArgsRecommended: ")
    assert short.endswith(b" (line 3)")
    assert base64.b64decode(warning["sourceInfo"]["data"]).splitlines()[2] == b"CMD warned"
    assert warning["range"] == [{"start": {"line": 3}, "end": {"line": 3}}]


def test_a_failing_step(ketchd: Ketchd, tmp_path: Path) -> None:
    done = run(ketchd, "build", folder(tmp_path, "FROM busybox\nRUN echo why; exit 5\n"))
    assert done.returncode == 5
    assert b"#3 ERROR: " in done.stderr
    assert done.stderr.rstrip().endswith(b"returned a non-zero code: 5")
    record = json.loads(run(ketchd, "build", "history", "inspect").stdout)
    assert (record["Status"], "exit 5" in record["Error"]) == ("error", True)


def test_a_shell_before_the_failed_step(ketchd: Ketchd, tmp_path: Path) -> None:
    text = "FROM busybox\nARG A='a b'\nARG B=2\nWORKDIR /w\n"
    text += "RUN echo kept > kept\nRUN rm kept && false\n"
    words = ("build", "--shell-on-failure", "--build-arg", "B=3", folder(tmp_path, text))
    done = run(ketchd, *words, input=b"pwd; cat kept; echo $A $B\n")
    assert done.returncode == 1
    assert done.stdout.endswith(b"/w\nkept\na b 3\n")


@pytest.mark.parametrize("source", ["src", "env"])
def test_secrets(
    ketchd: Ketchd, tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".dockerignore").write_text("token\n")
    (tmp_path / "token").write_text("s3cret-value")
    flag = f"id=t,src={tmp_path}/token" if source == "src" else "id=t,env=KETCH_TEST_TOKEN"
    check = "cat /run/secrets/t | wc -c | grep -x 12"  # not the value: the text is on record
    text = f"FROM busybox\nRUN --mount=type=secret,id=t,required {check}\n"
    monkeypatch.setenv("KETCH_TEST_TOKEN", "s3cret-value")
    words = ["build", "--no-cache", "--secret", flag, folder(tmp_path, text)]
    done = run(ketchd, *words)
    assert done.returncode == 0, done.stderr
    assert b"s3cret-value" not in (ketchd.data / "ketch.db").read_bytes()
    words[3] = "id=t,src=/nowhere"
    assert b"secret t: cannot read /nowhere" in run(ketchd, *words).stderr
    words[3] = "is=t"
    assert b"invalid secret" in run(ketchd, *words).stderr


class Agent(threading.Thread):
    """Something at a socket that gives back what it is to sign, backwards."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen()
        self.start()

    def run(self) -> None:
        while True:
            try:
                connection = self.socket.accept()[0]
            except OSError:
                return
            with connection, connection.makefile("rb") as asked, suppress(OSError):
                while head := asked.read(4):
                    text = asked.read(int.from_bytes(head, "big"))[1:]
                    connection.sendall(head + b"\x0e" + text[::-1])


def test_ssh_agents(ketchd: Ketchd, tmp_path: Path) -> None:
    """A small static program in the step asks the agent (draft-miller-ssh-agent: 13 is to sign, 17
    to take a key), each time on a connection of its own whose end it has closed when the answer
    comes."""
    source = tmp_path / "ask.c"
    source.write_text(ASK)
    subprocess.run(["gcc", "-static", "-O1", "-o", tmp_path / "ask", source], check=True)
    agent = Agent(str(tmp_path / "agent.sock"))
    (tmp_path / ".dockerignore").write_text("*\n!ask\n")
    asks = "RUN --mount=type=ssh,required ask 13 abc && ask 13 xyz && ask 17 k"
    text = f"FROM busybox\nCOPY ask /bin/\n{asks}\n"
    words = ["build", "--no-cache", "--ssh", f"default={tmp_path}/agent.sock"]
    done = run(ketchd, *words, folder(tmp_path, text))
    agent.socket.close()
    assert done.returncode == 0, done.stderr
    assert b" 14:cba\n" in done.stderr
    assert b" 14:zyx\n" in done.stderr
    assert b" 5:\n" in done.stderr  # refused
    refused = run(ketchd, "build", "--ssh", "default=/nowhere", str(tmp_path))
    assert b"/nowhere" in refused.stderr


ASK = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char answer[100] = {0}, asked[100] = {0, 0, 0, 1 + strlen(argv[2]), atoi(argv[1])};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(at.sun_path, getenv("SSH_AUTH_SOCK"), sizeof at.sun_path - 1);
    if (connect(fd, (struct sockaddr *)&at, sizeof at)) return perror("connect"), 1;
    strcpy(asked + 5, argv[2]);
    if (write(fd, asked, 5 + strlen(argv[2])) < 0) return perror("write"), 1;
    shutdown(fd, SHUT_WR);
    ssize_t size = read(fd, answer, sizeof answer - 1);
    return size < 5 || printf("%d:%s\n", answer[4], answer + 5) < 0;
}
"""


def test_stages_without_cache(ketchd: Ketchd, tmp_path: Path) -> None:
    path = folder(tmp_path, STAGES)
    run(ketchd, "build", "-q", path)
    again = run(ketchd, "build", "--no-cache-filter", "one", path).stderr.decode()
    # the image; the new layer of ``one`` is the same, so COPY is a hit
    assert again.count(" CACHED") == 4


def test_what_is_refused(ketchd: Ketchd, tmp_path: Path) -> None:
    path = folder(tmp_path, "FROM busybox\nRUN --network=host true\n")
    assert b"--allow network.host" in run(ketchd, "build", path).stderr
    assert run(ketchd, "build", "--allow", "network.host", path).returncode == 0
    assert b"invalid progress" in run(ketchd, "build", "--progress", "x", path).stderr


def test_on_a_terminal(ketchd: Ketchd, tmp_path: Path) -> None:
    """The live picture ends with every step and its time."""
    path = folder(tmp_path, "FROM busybox\nRUN echo tty-$((6*7)); sleep 0.3\n")
    environment = {**os.environ, "KETCH_HOST": f"unix://{ketchd.socket}", "NO_COLOR": "1"}
    session = Terminal([KETCH, "build", "--no-cache", path], environment)
    try:
        session.expect(r"# tty-42")
        session.expect(r"\[\+\] Building \d+\.\ds \(4/4\) FINISHED")
        session.expect(r"=> \[2/2\] RUN echo tty-.*  0\.\ds")
        assert session.wait() == 0
    finally:
        session.close()
    folder(tmp_path, "FROM busybox\nRUN echo tty-$((6*7)); sleep 100\n")
    session = Terminal([KETCH, "build", "--no-cache", path], environment)
    try:
        session.expect(r"# tty-42")
        session.send(b"\x03")
        session.expect(r"Building \d+\.\ds \(3/3\) CANCELED")
        session.expect(r"=> CANCELED \[2/2\] RUN echo tty-.*  \d\.\ds")
        session.expect(r"ERROR: the build was canceled")
        assert session.wait() == 130
    finally:
        session.close()


def test_how_it_is_shown_without_the_flag(ketchd: Ketchd, tmp_path: Path) -> None:
    path = folder(tmp_path, "FROM busybox\n")
    environment = {**os.environ, "KETCH_HOST": f"unix://{ketchd.socket}"}

    def shown(word: str, *flags: str) -> tuple[int, bytes, bytes]:
        done = subprocess.run(
            [KETCH, "build", *flags, path],
            env={**environment, "BUILDKIT_PROGRESS": word},
            capture_output=True,
            timeout=100,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    assert shown("none") == (0, b"", b"")
    assert shown("quiet")[1].startswith(b"sha256:")
    assert b'"vertexes"' in shown("plain", "--progress=rawjson")[2]
    code, _, said = shown("bogus")
    assert (code, b"invalid progress 'bogus'" in said) == (1, True)


def test_build_and_run(ketchd: Ketchd, tmp_path: Path) -> None:
    path = folder(tmp_path, 'FROM busybox\nRUN echo built > /b\nENTRYPOINT ["cat"]\n')
    done = run(ketchd, "run", "--rm", "--build", path, "/b")
    assert (done.returncode, done.stdout) == (0, b"built\n")
    folder(tmp_path, "FROM busybox\nRUN false\n")
    assert run(ketchd, "run", "--rm", "--build", path).returncode == 125


def test_of_a_large_context_only_what_steps_name_is_sent(ketchd: Ketchd, tmp_path: Path) -> None:
    text = """FROM busybox
COPY one li* /to/
COPY --from=more few /few
RUN cat /to/* /few/*
"""
    context, more = tmp_path / "context", tmp_path / "more"
    (more / "few").mkdir(parents=True)
    context.mkdir()
    for place in (context, more):
        with open(place / "large", "wb") as file:
            file.truncate(5 << 20)
    (context / "one").write_text("said-one\n")
    (context / "link").symlink_to("one")
    (more / "few/a").write_text("said-a\n")
    (more / "few/b.log").write_text("said-b\n")
    (more / ".dockerignore").write_text("**/*.log\n")
    named = ("--build-context", f"more={more}")
    done = run(ketchd, "build", *named, "--progress=rawjson", folder(context, text))
    shown = [json.loads(line) for line in done.stderr.splitlines()]
    said = b"".join(
        base64.b64decode(log["data"]) for one in shown for log in one.get("logs") or ()
    ).decode()
    assert (said.count("said-one"), "said-a" in said, "said-b" in said) == (2, True, False)
    sent = {
        status["name"]: status["current"]
        for one in shown
        for status in one.get("statuses") or ()
        if "transferring" in status["id"]
    }
    assert sorted(sent) == ["transferring context:", "transferring more:"], sent
    assert max(sent.values()) < 1 << 20
    again = run(ketchd, "build", *named, str(context)).stderr.decode()
    assert again.count(" CACHED") == 4
    (context / "Dockerfile").write_text(f"{text}COPY . /all\nRUN ls /all | wc -l; ls /few")
    whole = run(ketchd, "build", *named, str(context)).stderr.decode()
    assert (" 4\n" in whole, " a\n" in whole) == (True, True)  # Dockerfile, large, link, one
    (context / "Dockerfile").write_text("FROM busybox\nCOPY none /\n")
    missing = run(ketchd, "build", str(context))
    assert (missing.returncode, b"none" in missing.stderr) == (1, True)
    connection = UnixConnection(str(ketchd.socket))
    connection.request("POST", "/build?contextondemand=1&progress=events", b"")
    assert connection.getresponse().status == 400
    connection.close()


def test_a_client_that_does_not_bring_its_context(ketchd: Ketchd) -> None:
    """It stops listening, or breaks off: the build ends and says so, and nobody waits."""
    archive = b"".join([*of_bytes("Dockerfile", b"FROM busybox\nCOPY x /\n"), END])

    def asked(method: str, path: str, body: bytes = b"{}") -> UnixConnection:
        connection = UnixConnection(str(ketchd.socket))
        connection.request(method, path, body, {"Content-Type": "application/json"})
        return connection

    for breaks_off in (False, True):
        offers = asked("POST", "/ketch/builds/offers")
        token = json.loads(offers.getresponse().read())["Id"]
        offers.close()
        build = asked("POST", f"/build?progress=events&contextondemand=1&offers={token}", archive)
        listening = asked("GET", f"/ketch/builds/offers/{token}/demands")
        demand = json.loads(listening.getresponse().readline())
        assert demand == {"Number": 0, "Name": "", "Paths": ["x"]}
        if breaks_off:
            bringing = UnixConnection(str(ketchd.socket))
            bringing.putrequest("PUT", f"/ketch/builds/offers/{token}/context?number=0")
            bringing.putheader("Transfer-Encoding", "chunked")
            bringing.endheaders(b"5\r\nbegin\r\n")
            bringing.close()
        else:
            listening.sock.close()
            listening.close()
        outcome = json.loads(build.getresponse().read().splitlines()[-1])
        assert "the client went away before the build had its context" in outcome["error"]
        build.close()
        listening.close()
