"""``docker buildx build`` with the real buildx."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from e2e import git_server
from e2e.buildx_client import Buildx
from e2e.conftest import another
from e2e.ketchd_process import Ketchd, wait_for
from e2e.leaks import remove_cgroup_parent

pytestmark = pytest.mark.root


STAGES = """\
ARG TAG=latest
FROM scratch AS data
COPY f /f
FROM busybox:${TAG} AS base
ARG WHO=world
ENV A=b
RUN echo ${WHO} $A $unknown
RUN <<E
echo one
echo two
E
FROM busybox
COPY --from=data /f /g
COPY --from=base /bin/sh /sh2
LABEL no=layer
RUN sleep 0
"""


def steps(text: str) -> list[str]:
    """The names of the vertices in plain progress, in order."""
    found = re.findall(r"^#\d+ (\[.*|exporting .*)$", text, re.MULTILINE)
    return list(dict.fromkeys(name for name in found if not name.startswith("exporting l")))


def test_a_build_says_what_docker_says(each_buildx: Buildx, tmp_path: Path) -> None:
    """As dockerd 28.5 has it, but for the order of what happens side by side."""
    (tmp_path / "Dockerfile").write_text(STAGES)
    (tmp_path / "f").write_text("f")
    (tmp_path / ".dockerignore").write_text("nothing\n")
    told, metadata = tmp_path / "iid", tmp_path / "metadata.json"
    files = ("--iidfile", str(told), "--metadata-file", str(metadata), "--no-cache")
    done = each_buildx.build("-t", "buildx:1", "-t", "buildx:2", *files, str(tmp_path))
    assert sorted(steps(done.stderr)) == sorted(
        [
            "[internal] load build definition from Dockerfile",
            "[internal] load metadata for docker.io/library/busybox:latest",
            "[internal] load .dockerignore",
            "[internal] load build context",
            "[base 1/3] FROM docker.io/library/busybox:latest",
            "[base 2/3] RUN echo world b $unknown",
            "[base 3/3] RUN <<E (echo one...)",
            "[data 1/1] COPY f /f",
            "[stage-2 2/4] COPY --from=data /f /g",
            "[stage-2 3/4] COPY --from=base /bin/sh /sh2",
            "[stage-2 4/4] RUN sleep 0",
            "exporting to image",
        ]
    )
    for line in (
        "transferring dockerfile: [0-9]+B.* done",
        "transferring context: [0-9]+B.* done",
        "exporting layers .*done",
        f"writing image {told.read_text()} .*done",
        "naming to docker.io/library/buildx:2 .*done",
    ):
        assert re.search(rf"^#\d+ {line}$", done.stderr, re.MULTILINE), done.stderr
    made = json.loads(metadata.read_text())
    found = each_buildx.docker("image", "inspect", "-f", "{{.Id}}", "buildx:1").stdout.strip()
    assert found == told.read_text() == made["containerimage.digest"]
    assert made["containerimage.config.digest"] == told.read_text()
    assert made["image.name"] == "docker.io/library/buildx:1,docker.io/library/buildx:2"
    assert made["buildx.build.ref"].startswith("default/default/")


EXCERPT = """\
Dockerfile:{line}
--------------------
"""


@pytest.mark.parametrize(
    ("text", "line", "said", "vertex"),
    [
        (
            "FROM busybox\nRUN echo out; exit 3\n", 2,
            'process "/bin/sh -c echo out; exit 3" did not complete successfully: exit code: 3',
            "[2/2] RUN echo out; exit 3:",
        ),
        (
            "FROM busybox\nBOGUS\n", 2,
            "dockerfile parse error on line 2: unknown instruction: BOGUS", "",
        ),
        (
            "FROM busybox\nCOPY nothing /\n", 2,
            'failed to compute cache key: "/nothing": not found', "[2/2] COPY nothing /:",
        ),
        (
            "FROM 127.0.0.1:1/none\n", 1, "127.0.0.1:1/none",
            "[internal] load metadata for 127.0.0.1:1/none:latest:",
        ),
    ],
)  # fmt: skip
def test_a_failure_shows_its_place(
    buildx: Buildx, tmp_path: Path, text: str, line: int, said: str, vertex: str
) -> None:
    (tmp_path / "Dockerfile").write_text(text)
    done = buildx.build(str(tmp_path), code=1)
    assert "[internal] load build definition from Dockerfile" in done.stderr
    assert EXCERPT.format(line=line) in done.stderr
    assert f"{line} | >>> {text.splitlines()[line - 1]}" in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ERROR: failed to build: failed to solve: ")
    assert said in last
    assert not vertex or f"\n > {vertex}\n" in done.stderr


def test_several_outputs_of_one_build(each_buildx: Buildx, tmp_path: Path) -> None:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY f /f\n")
    (folder / "f").write_text("content")
    outputs = (
        f"type=local,dest={tmp_path}/files",
        f"type=tar,dest={tmp_path}/files.tar",
        f"type=oci,dest={tmp_path}/layout,tar=false",
        f"type=oci,dest={tmp_path}/oci.tar",
        "type=docker",
    )
    words = [word for output in outputs for word in ("-o", output)]
    done = each_buildx.build(*words, "-t", "several:1", str(folder))
    assert (tmp_path / "files/f").read_text() == "content"
    with tarfile.open(tmp_path / "files.tar") as archive:
        assert archive.getnames() == ["f"]
    index = json.loads((tmp_path / "layout/index.json").read_text())
    digest = index["manifests"][0]["digest"].replace(":", "/")
    assert (tmp_path / "layout/blobs" / digest).exists()
    with tarfile.open(tmp_path / "oci.tar") as archive:
        assert f"blobs/{digest}" in archive.getnames()
    for line in ("copying files", "sending tarball", "exporting manifest sha256:", "naming to "):
        assert re.search(rf"^#\d+ {line}.* done$", done.stderr, re.MULTILINE), done.stderr
    assert each_buildx.docker("image", "inspect", "-f", "{{.Size}}", "several:1").stdout == "7\n"


FLAGS = """\
FROM busybox
ARG X
RUN cat /etc/hosts; ulimit -n; df -k /dev/shm; echo X=$X
"""


def test_flags_of_steps_and_what_buildx_learns_of_the_builder(
    each_buildx: Buildx, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(FLAGS)
    limits = ("--ulimit", "nofile=1000:2000", "--shm-size", "10m")
    hosts = ("--add-host", "foo=192.0.2.7", "--add-host", "outside=host-gateway")
    done = each_buildx.build("--no-cache", *limits, *hosts, "--build-arg", "X=5", str(tmp_path))
    gateway = f"10.199.{each_buildx.daemon.octet}.1"
    for said in ("192.0.2.7\tfoo", f"{gateway}\toutside", "1000\n", " 10240 ", "X=5\n"):
        assert said in done.stderr
    told = each_buildx.docker("buildx", "inspect").stdout
    assert re.search(r"BuildKit version: v0\.\d\d+\.\d+\+ketch\.", told)
    assert re.search(r"Platforms: +linux/amd64.*linux/386", told) or platform.machine() != "x86_64"


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("FROM busybox\nRUN --security=insecure true\n", (), "--allow security.insecure"),
        ("FROM busybox\nRUN --network=host true\n", (), "--allow network.host"),
        (
            "FROM busybox\n",
            ("--allow", "security.insecure"),
            "granting entitlement security.insecure is not allowed by build daemon configuration",
        ),
        ("FROM busybox\n", ("--allow", "device"), "the entitlement device is not supported"),
        ("# syntax=localhost:1/foo/bar:1\nFROM busybox\n", (), "localhost:1/foo/bar"),
        ("FROM busybox\n", ("-o", "type=bogus"), "'bogus' is not supported: image, docker, oci"),
        ("FROM busybox\n", ("--target", "no"), 'target stage "no" could not be found'),
        ("FROM busybox\nRUN --mount=type=secret,id=s,required true\n", (), "secret s: not found"),
        ("FROM busybox\n", ("--push",), "tag is needed when pushing to registry"),
    ],
)
def test_what_is_refused(
    buildx: Buildx, tmp_path: Path, text: str, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "Dockerfile").write_text(text)
    done = buildx.build(*words, str(tmp_path), code=1)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ERROR: failed to build: ")
    assert said in last
    assert not re.search("^ERROR: .*(Unimplemented|InvalidArgument|NotFound):", last)


def cgroups(parent: str) -> list[Path]:
    """Of steps below a parent, in whichever hierarchies there are."""
    return [
        path
        for tree in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir())
        for path in Path(f"{tree}{parent}").glob("?" * 64)
    ]


def test_a_cgroup_parent_and_the_death_of_the_daemon(ketchd: Ketchd, tmp_path: Path) -> None:
    """Nothing of a step outlives the daemon that ran it, wherever its cgroup is."""
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo begun; sleep 600\n")
    with another(ketchd) as daemon:
        client = Buildx(daemon, "sid", tmp_path / "config")
        parent = f"{daemon.cgroup}-builds"
        words = ("build", "--progress=plain", "--cgroup-parent", parent, str(tmp_path))
        try:
            with client.popen(*words, stderr=subprocess.PIPE) as build:
                assert build.stderr is not None
                assert any(b"begun" in line and b"RUN" not in line for line in build.stderr)
                assert cgroups(parent)
                daemon.stop(signal.SIGKILL)
                build.kill()
            daemon.start()
            wait_for(lambda: not cgroups(parent), "the step was not ended", 10)
        finally:
            remove_cgroup_parent(parent)


def test_contexts_of_all_kinds(each_buildx: Buildx, tmp_path: Path) -> None:
    """An archive on standard input with directories and images by name, a repository."""
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "g").write_text("of-other")
    (other / "left").write_text("out")
    (other / ".dockerignore").write_text("left\n")
    (folder / "f").write_text("of-archive")
    text = "FROM base\nCOPY f /f\nCOPY --from=other . /o/\nRUN cat /f /o/g; ls /o\n"
    (folder / "x.Dockerfile").write_text(text)
    subprocess.run(["tar", "-C", folder, "-czf", tmp_path / "t.tgz", "."], check=True)
    archive = (tmp_path / "t.tgz").read_bytes()
    done = each_buildx.build(
        "--no-cache", "-f", "x.Dockerfile", "--build-context", f"other={other}",
        "--build-context", "base=docker-image://busybox", "-", input=archive,
    )  # fmt: skip
    assert "of-archiveof-other" in done.stderr
    assert not re.search(r"^#\d+ [\d.]+ left$", done.stderr, re.MULTILINE)
    assert {
        "[internal] load remote build context",
        "[internal] load metadata for docker.io/library/busybox:latest",
        "[context other] load .dockerignore",
        "[context other] load from client",
    } <= set(re.findall(r"^#\d+ (\[[ci].*)$", done.stderr, re.MULTILINE))
    (tmp_path / "git").mkdir()
    with git_server.serving(tmp_path / "git") as git:
        git.make("app", {"Dockerfile": "FROM busybox\nCOPY f /\nRUN cat /f\n", "f": "of-git"})
        url = f"{git.address}/app.git#main".replace("http://", "http://who:secret@")
        done = each_buildx.build("--no-cache", url)
    assert "[internal] load git source http://xxxxx:xxxxx@127.0.0.1" in done.stderr
    assert "of-git" in done.stderr
    assert "who:secret" not in done.stderr


def test_the_next_build_is_sent_what_changed(buildx: Buildx, tmp_path: Path) -> None:
    big, small, same = tmp_path / "big", tmp_path / "small", tmp_path / "same"
    text = "FROM busybox\nCOPY . /c/\nRUN cd /c; sha256sum <big; echo $(cat small) $(cat same)\n"
    (tmp_path / "Dockerfile").write_text(text)
    big.write_bytes(os.urandom(6 << 20))
    small.write_text("one")
    same.write_text("old")
    os.utime(same, ns=(10**18, 10**18))  # a time that tools give: it says nothing

    def sent() -> bool:
        """Whether the large file was sent; the image has what is there."""
        done = buildx.build(str(tmp_path))
        if not re.search(r"\[3/3\] RUN .*\n#\d+ CACHED", done.stderr):
            assert hashlib.sha256(big.read_bytes()).hexdigest() in done.stderr
            assert f" {small.read_text()} {same.read_text()}\n" in done.stderr
        return re.search(r"transferring context: [\d.]+MB", done.stderr) is not None

    assert sent()
    small.write_text("two")
    assert not sent()
    same.write_text("new")
    os.utime(same, ns=(10**18, 10**18))
    assert not sent()
    same.unlink()
    same.symlink_to("small")
    assert not sent()
    assert not sent()  # every time is certain now, and nothing changed
    with big.open("r+b") as file:
        file.write(b"changed")
    assert sent()


def test_an_interrupted_build_ends_in_the_daemon(buildx: Buildx, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo begun; sleep 600\n")
    parent = f"{buildx.daemon.cgroup}-interrupted"
    words = ("build", "--progress=plain", "--cgroup-parent", parent, str(tmp_path))
    try:
        with buildx.popen(*words, stderr=subprocess.PIPE) as build:
            assert build.stderr is not None
            assert any(b"begun" in line and b"RUN" not in line for line in build.stderr)
            build.send_signal(signal.SIGINT)
            rest = build.stderr.read()
        assert b" CANCELED\n" in rest
        assert b"context canceled" in rest.splitlines()[-1]
        assert build.returncode in (1, 130)
        wait_for(lambda: not cgroups(parent), "the step goes on", 10)
    finally:
        remove_cgroup_parent(parent)
    assert "Canceled" in buildx.docker("buildx", "history", "inspect").stdout


def test_an_index_of_one_platform(buildx: Buildx, tmp_path: Path) -> None:
    """BUILDKIT_MULTI_PLATFORM: as if there were several."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    words = ("--build-arg", "BUILDKIT_MULTI_PLATFORM=1", "--provenance=false", str(folder))
    layout, files = tmp_path / "layout", tmp_path / "files"
    buildx.build("-o", f"type=oci,tar=false,dest={layout}", "-o", f"{files}", *words)
    (described,) = json.loads((layout / "index.json").read_text())["manifests"]
    assert described["mediaType"] == "application/vnd.oci.image.index.v1+json"
    index = json.loads((layout / "blobs" / described["digest"].replace(":", "/")).read_text())
    (manifest,) = index["manifests"]
    assert manifest["platform"]["os"] == "linux"
    (directory,) = files.iterdir()
    assert directory.name.startswith("linux_")
    assert (directory / "Dockerfile").exists()
