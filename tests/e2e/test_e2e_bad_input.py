"""Bad input through the real command lines: one clear sentence, the right code, nothing left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.ketchd_process import Ketchd, docker_path
from e2e.registry_process import Registry

pytestmark = pytest.mark.root

BIN = Path(sys.executable).parent
NO_DIGEST = "sha256:" + "0" * 64
NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")

# words of the command, exit code, what its standard error must say
MISTAKES = [
    ("run --rm --pull never nosuch", 125, "No such image: nosuch:latest"),
    ("run --rm 127.0.0.1:1/x", 125, "cannot reach the registry http://127.0.0.1:1: "),
    ("pull 127.0.0.1:1/x", 1, "cannot reach the registry http://127.0.0.1:1: "),
    ("pull nosuch.invalid/x", 1, "cannot reach the registry https://nosuch.invalid: "),
    ("pull BAD//name", 1, "invalid reference format"),
    ("run --rm busybox nosuch", 127, 'exec: "nosuch": executable file not found in $PATH'),
    ("run --rm busybox /etc/passwd", 126, 'exec: "/etc/passwd": permission denied'),
    ("run --memroy 1g busybox", 125, "unknown flag: --memroy"),
    ("run", 1, "requires at least 1 argument"),
    ("rnu busybox", 1, "unknown command: "),
    ("create --name taken busybox", 1, 'Conflict. The container name "/taken" is already in use'),
    ("run --rm --name taken busybox", 125, 'Conflict. The container name "/taken" is already in'),
    ("run --rm --name -x busybox", 125, "Invalid container name (-x)"),
    ("run --rm -m 1 busybox", 125, "Minimum memory limit allowed is 6MB"),
    ("run --rm --cpus 1000 busybox", 125, "range of CPUs is from 0.01 to "),
    ("run --rm -p 99999:1 busybox", 125, "invalid hostPort: 99999"),
    ("run --rm -v a:b:c:d busybox", 125, "invalid volume specification: 'a:b:c:d'"),
    ("run --rm -v rel/dir:/x busybox", 125, "rel/dir"),
    ("run --rm -u nosuch busybox true", 125, "unable to find user nosuch"),
    ("run --rm -w rel busybox", 125, "the working directory 'rel' is invalid"),
    ("run --rm --network nosuch busybox", 125, "network nosuch not found"),
    ("run --rm --cap-add BOGUS busybox", 125, 'unknown capability: "CAP_BOGUS"'),
    ("run --rm --runtime bogus busybox", 125, "unknown or invalid runtime name: bogus"),
    ("run --rm --gpus all busybox", 125, "could not select device driver"),
    ("run --rm --device /dev/nosuch busybox", 127, "/dev/nosuch"),
    ("run --rm --isolation hyperv busybox", 125, "invalid isolation (hyperv)"),
    ("exec nosuch true", 1, "No such container: nosuch"),
    ("exec taken true", 1, "is not running"),
    ("logs nosuch", 1, "No such container: nosuch"),
    ("cp taken:/nosuch /tmp/never", 1, "Could not find the file /nosuch in container taken"),
    ("cp /nosuch taken:/", 1, "no such file or directory"),
    ("rmi nosuch", 1, "No such image: nosuch:latest"),
    ("tag nosuch x", 1, "No such image: nosuch:latest"),
    ("save nosuch", 1, "No such image: nosuch:latest"),
    ("load -i /etc/passwd", 1, "not a tar archive"),
    ("import /nosuch", 1, "open /nosuch: no such file or directory"),
    ("volume rm nosuch", 1, "get nosuch: no such volume"),
    ("network rm nosuch", 1, "network nosuch not found"),
]

# Dockerfile, what is said, and the line and column it points at ("" for none)
DOCKERFILES = [
    ("FORM busybox\n", "unknown instruction: FORM (did you mean FROM?)", "Dockerfile:1:1"),
    ("FROM busybox\nRNU x\n", "unknown instruction: RNU (did you mean RUN?)", "Dockerfile:2:1"),
    ("FROM busybox\nCOPY a\n", "COPY requires at least two arguments", "Dockerfile:2:6"),
    ("FROM busybox\nCOPY --form=x a b\n", "unknown flag: --form (did you mean", "Dockerfile:2:6"),
    ("FROM busybox AS\n", "FROM requires either one or three arguments", "Dockerfile:1:6"),
    ("FROM busybox\nRUN --mount=type=bogus x\n", "bogus", "Dockerfile:2:5"),
    ("FROM ${X\n", "missing '}' in substitution", "Dockerfile:1:1"),
    ("RUN x\n", "no build stage in current context", "Dockerfile:1:1"),
    ("FROM busybox\nEXPOSE 99999\n", "invalid containerPort: 99999", "Dockerfile:2:1"),
    ("FROM busybox\nCOPY nosuch /x\n", "file not found in build context", ""),
    ("", "cannot be empty", ""),
]


@pytest.fixture(scope="module")
def daemon(ketchd: Ketchd) -> Iterator[Ketchd]:
    ketchd.docker("create", "--name", "taken", "busybox")
    yield ketchd
    ketchd.docker("rm", "taken")


def state(daemon: Ketchd) -> tuple[str, ...]:
    """What there is, from the outside and on the disk."""
    shown = ("ps -aq", "images -aq", "volume ls -q", "network ls -q")
    listed = tuple(daemon.out(*words.split()) for words in shown)
    folders = (sorted(os.listdir(daemon.data / name)) for name in ("containers", "snapshots"))
    return (*listed, *(" ".join(names) for names in (*folders, daemon.unfinished())))


def call(
    daemon: Ketchd,
    program: str,
    *words: str,
    data: bytes | None = None,
    prefix: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    path = str(docker_path()) if program == "docker" else str(BIN / program)
    done = subprocess.run(
        [*prefix, path, *words],
        env={**daemon.env(), "KETCH_HOST": f"unix://{daemon.socket}"},
        input=data or b"",
        capture_output=True,
        timeout=60,
        check=False,
    )
    said = (done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in said[1]
    return subprocess.CompletedProcess(done.args, done.returncode, *said)


@pytest.mark.parametrize("program", ["docker", "ketch"])
def test_mistakes(daemon: Ketchd, program: str) -> None:
    before, wrong = state(daemon), []
    for words, code, sentence in MISTAKES:
        done = call(daemon, program, *words.split())
        if done.returncode != code or sentence not in done.stderr:
            wrong.append((words, done.returncode, done.stderr))
    assert not wrong
    assert state(daemon) == before
    assert not os.path.exists("/tmp/never")


@pytest.mark.parametrize("program", ["docker", "ketch"])
def test_malformed_dockerfiles(daemon: Ketchd, program: str) -> None:
    before, wrong = state(daemon), []
    for text, sentence, place in DOCKERFILES:
        done = call(daemon, program, "build", "-q", "-", data=text.encode())
        if done.returncode != 1 or sentence not in done.stderr or place not in done.stderr:
            wrong.append((text, done.returncode, done.stderr))
    assert not wrong
    assert state(daemon) == before


@pytest.mark.parametrize("program", ["docker", "ketch"])
def test_a_step_s_exit_code_is_the_build_s(daemon: Ketchd, program: str) -> None:
    before = state(daemon)
    done = call(daemon, program, "build", "-q", "-", data=b"FROM busybox\nRUN exit 7\n")
    assert done.returncode == 7
    assert "returned a non-zero code: 7" in done.stderr
    assert state(daemon) == before


def test_wrong_digest(daemon: Ketchd, tmp_path: Path) -> None:
    with Registry(tmp_path / "registry") as registry:
        name = f"{registry.address}/box"
        daemon.docker("tag", "busybox", f"{name}:1")
        daemon.docker("push", f"{name}:1")
        daemon.docker("rmi", f"{name}:1")
        before = state(daemon)
        for program in ("docker", "ketch"):
            done = call(daemon, program, "pull", f"{name}@{NO_DIGEST}")
            assert done.returncode == 1
            assert NO_DIGEST in done.stderr
            assert "not found" in done.stderr
            done = call(daemon, program, "pull", f"{name}:2")
            assert done.returncode == 1
            assert f"{name}:2" in done.stderr
            assert "not found" in done.stderr
        assert state(daemon) == before


@pytest.mark.parametrize(
    ("program", "words", "code", "sentence"),
    [
        (
            "ketch",
            "ps",
            1,
            "permission denied: run this as root, or as a member of the socket's group",
        ),
        ("ketch", "run --rm busybox true", 126, "permission denied: run this as root"),
        ("docker", "ps", 1, "permission denied"),
        ("ketchd", "", 1, "ketchd: root is needed"),
        ("ketch-runtime", "run -b /tmp x", 1, "ketch-runtime needs root"),
    ],
)
def test_without_root(daemon: Ketchd, program: str, words: str, code: int, sentence: str) -> None:
    there = subprocess.run([*NOBODY, BIN / "ketch", "--version"], capture_output=True, check=False)
    if there.returncode:
        pytest.skip("this checkout is in a directory that others may not read")
    done = call(daemon, program, *words.split(), prefix=NOBODY)
    assert done.returncode == code
    assert sentence in done.stderr


def test_without_overlayfs(tmp_path: Path) -> None:
    """fsopen(2) as a kernel without the file system answers it, by a filter on the whole daemon."""
    program = (
        "import ctypes, os, struct, sys\n"
        "ops = [(0x20, 0, 0, 0), (0x15, 0, 1, 430), (6, 0, 0, 327699), (6, 0, 0, 0x7fff0000)]\n"
        "code = b''.join(struct.pack('HBBI', *op) for op in ops)\n"
        "buffer = ctypes.create_string_buffer(code)\n"
        "filter = struct.pack('HxxxxxxP', len(ops), ctypes.addressof(buffer))\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter, 0, 0) == 0\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'ketch.daemon', *sys.argv[1:]])\n"
    )
    flags = ["--data-root", f"{tmp_path}/data", "--exec-root", f"{tmp_path}/run"]
    done = subprocess.run(
        [sys.executable, "-c", program, *flags],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("ketchd: this kernel has no overlayfs")
    assert len(done.stderr.splitlines()) == 1


def test_hostile_patterns_hold_nobody_up(ketchd: Ketchd, name: str) -> None:
    """With a matcher that backtracks each of these would take hours."""
    long = f"{name}-{'a' * 60}"
    volume = ketchd.out("volume", "create", f"{long}b")
    try:
        ketchd.docker("create", "--name", f"{long}b", "busybox", "true")
        for command in (("ps", "-aq"), ("volume", "ls", "-q"), ("network", "ls", "-q")):
            assert not ketchd.out(*command, "--filter", "name=(a+)+$", "--filter", "name=(a|aa)+$")
        assert ketchd.out("ps", "-aq", "--filter", f"name=^{name}-(a+)+b$")
        options = ("--log-opt", "labels-regex=(a+)+$", "--label", f"{'a' * 60}b=c")
        ketchd.docker("run", "--rm", *options, "busybox", "true")
        refused = ("--log-opt", "labels-regex=(?=x)", "busybox", "true")
        done = ketchd.docker("run", "--rm", *refused, code=125)
        assert b"log opt 'labels-regex': error parsing regexp" in done.stderr
    finally:
        ketchd.docker("rm", f"{long}b")
        ketchd.docker("volume", "rm", volume)
