"""``ketch`` against a real daemon: the words, output and exit codes of ``docker``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from e2e.ketch_program import KETCH, ketch, out
from e2e.ketchd_process import Ketchd, Terminal, wait_for

pytestmark = pytest.mark.root
HELLO = Path(__file__).resolve().parents[2] / "examples" / "hello"


def test_run_prints_and_returns_the_exit_code(ketchd: Ketchd) -> None:
    assert out(ketchd, "run", "--rm", "busybox", "echo", "hi") == "hi"
    assert ketch(ketchd, "run", "--rm", "busybox", "sh", "-c", "exit 7", code=7).stdout == b""
    done = ketch(ketchd, "run", "--rm", "busybox", "sh", "-c", "echo a; echo b >&2")
    assert (done.stdout, done.stderr) == (b"a\n", b"b\n")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "--rm", "busybox", "nonexistent"], 127, "executable file not found in $PATH"),
        (["run", "--rm", "busybox", "/tmp"], 126, "is a directory: permission denied"),
        (["run", "--rm", "--pull", "never", "no/such:1"], 125, "No such image: no/such:1"),
        (["run", "--nope", "busybox"], 125, "unknown flag: --nope"),
        (["rm", "nobody"], 1, "No such container: nobody"),
        (["logs", "nobody"], 1, "No such container: nobody"),
        (["inspect", "nobody"], 1, "No such object: nobody"),
        (["pull", "127.0.0.1:1/x:1"], 1, "127.0.0.1:1"),
        (["fly"], 1, "unknown command: ketch fly"),
    ],
)
def test_errors(ketchd: Ketchd, words: list[str], code: int, message: str) -> None:
    assert message in ketch(ketchd, *words, code=code).stderr.decode()


def test_signal_exit_code(ketchd: Ketchd, name: str) -> None:
    process = subprocess.Popen(
        [KETCH, "run", "--rm", "--name", name, "busybox", "sh", "-c", "echo up; exec sleep 600"],
        env={**os.environ, "KETCH_HOST": f"unix://{ketchd.socket}"},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    ketch(ketchd, "kill", name)
    assert process.wait(20) == 137
    process.stdout.close()


def test_stdin_is_piped(ketchd: Ketchd) -> None:
    data = os.urandom(300_000).hex().encode()
    done = ketch(ketchd, "run", "--rm", "-i", "busybox", "cat", input=data)
    assert done.stdout == data


def test_terminal(ketchd: Ketchd) -> None:
    environment = {**os.environ, "KETCH_HOST": f"unix://{ketchd.socket}"}
    session = Terminal([KETCH, "run", "--rm", "-it", "busybox", "sh"], environment)
    try:
        session.expect("# ")
        session.send(b"tty; exit 5\n")
        session.expect("/dev/pts/0")
        assert session.wait() == 5
    finally:
        session.close()


def test_detached_life(ketchd: Ketchd, name: str) -> None:
    script = "echo one; echo two; exec sleep 600"
    identity = out(ketchd, "run", "-d", "--name", name, "busybox", "sh", "-c", script)
    assert len(identity) == 64
    table = out(ketchd, "ps", "--filter", f"name={name}")
    assert table.startswith("CONTAINER ID   IMAGE")
    assert identity[:12] in table
    assert out(ketchd, "ps", "-q", "--no-trunc", "--filter", f"name={name}") == identity
    wait_for(lambda: "two" in out(ketchd, "logs", name), "no logs")
    assert out(ketchd, "logs", "--tail", "1", name) == "two"
    assert out(ketchd, "exec", name, "hostname") == identity[:12]
    assert (
        out(ketchd, "exec", "-e", "A=b", "-w", "/tmp", name, "sh", "-c", "echo $A $PWD") == "b /tmp"
    )
    assert ketch(ketchd, "exec", name, "false", code=1)
    assert out(ketchd, "inspect", "-f", "{{.State.Status}} {{.Name}}", name) == f"running /{name}"
    assert (
        ketch(ketchd, "rm", name, code=1).stderr.decode().startswith("Error response from daemon")
    )
    assert out(ketchd, "stop", "-t", "0", name) == name
    assert "Exited (137)" in out(ketchd, "ps", "-a", "--filter", f"name={name}")
    assert out(ketchd, "rm", name) == name


def test_build_and_images(ketchd: Ketchd) -> None:
    text = out(ketchd, "build", "-t", "hello-e2e", str(HELLO))
    assert "Successfully tagged hello-e2e:latest" in text
    assert out(ketchd, "run", "--rm", "-e", "WHO=tests", "hello-e2e").startswith("Hello, tests!")
    assert "hello-e2e" in out(ketchd, "images")
    assert out(ketchd, "history", "-q", "hello-e2e")
    assert "Untagged: hello-e2e:latest" in out(ketchd, "rmi", "hello-e2e")


def test_copying(ketchd: Ketchd, name: str, tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "f").write_text("content")
    ketch(ketchd, "create", "--name", name, "busybox", "true")
    ketch(ketchd, "cp", str(tmp_path / "tree"), f"{name}:/tmp/")
    ketch(ketchd, "cp", f"{name}:/tmp/tree", str(tmp_path / "back"))
    assert (tmp_path / "back" / "sub" / "f").read_text() == "content"
    assert "A /tmp/tree" in out(ketchd, "diff", name)


def test_version_info_help(ketchd: Ketchd) -> None:
    assert "Server:" in out(ketchd, "version")
    assert "Storage Driver:" in out(ketchd, "info")
    assert "Create and run a new container" in out(ketchd, "run", "--help")
    assert "Usage:  ketch" in out(ketchd, "--help")


def test_import_and_save_load(ketchd: Ketchd, tmp_path: Path) -> None:
    archive = tmp_path / "saved.tar"
    ketch(ketchd, "tag", "busybox", "copy-of-busybox:1")
    ketch(ketchd, "save", "-o", str(archive), "copy-of-busybox:1")
    ketch(ketchd, "rmi", "copy-of-busybox:1")
    assert "Loaded image: copy-of-busybox:1" in out(ketchd, "load", "-i", str(archive))
    ketch(ketchd, "rmi", "copy-of-busybox:1")


def test_no_daemon_and_not_ours_to_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [KETCH, "-H", f"unix://{tmp_path}/none.sock", "ps"], capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"Is the ketch daemon running?" in done.stderr


def test_bytes_that_are_no_unicode(ketchd: Ketchd, name: str) -> None:
    """Arguments of the command line, names of files: shown, never a traceback or a dead worker."""
    done = ketch(ketchd, "run", "--rm", "busybox", "echo", os.fsdecode(b"\xff\xc3\xa9"))
    assert done.stdout.decode() == "\ufffd\u00e9\n"
    refused = ketch(ketchd, "rm", os.fsdecode(b"\xff"), code=1)
    assert b"No such container" in refused.stderr
    ketch(ketchd, "run", "--name", name, "busybox", "sh", "-c", "touch $(printf '/n\\377ame')")
    assert "A /n\ufffdame" in out(ketchd, "diff", name)
    link = ketchd.folder / name
    link.symlink_to(os.fsdecode(b"\xff"))
    ketch(ketchd, "cp", str(link), f"{name}:/link")
    ketch(ketchd, "cp", f"{name}:/link", f"{link}-2")
    assert os.readlink(os.fsencode(f"{link}-2")) == b"\xff"
    shown = ketch(ketchd, "inspect", "-f", os.fsdecode(b"{{.Name}}\xff"), name).stdout
    assert shown == f"/{name}".encode() + b"\xff\n"


@pytest.mark.parametrize("locale", ["C", "POSIX", "de_DE.ISO-8859-1"])
def test_output_is_utf8_in_every_locale(ketchd: Ketchd, name: str, locale: str) -> None:
    ketch(ketchd, "create", "--name", name, "--label", "k=ü☃", "busybox", "echo", "x" * 40)
    done = subprocess.run(
        [KETCH, "ps", "-a", "--filter", f"name={name}", "--format", "{{.Command}} {{.Labels}}"],
        env={"KETCH_HOST": f"unix://{ketchd.socket}", "LC_ALL": locale},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == '"echo xxxxxxxxxxxxxx…" k=ü☃\n'
