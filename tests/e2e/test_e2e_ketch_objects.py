"""``ketch`` on images, volumes, networks and the whole: what is made, listed and removed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from e2e.ketch_program import KETCH, ketch, out
from e2e.ketchd_process import Ketchd, Terminal

pytestmark = pytest.mark.root


def with_config(daemon: Ketchd, folder: Path, config: dict[str, object], *words: str) -> str:
    """Output with a config.json of the user's."""
    (folder / "config.json").write_text(json.dumps(config))
    env = {**os.environ, "KETCH_HOST": f"unix://{daemon.socket}", "DOCKER_CONFIG": str(folder)}
    done = subprocess.run([KETCH, *words], env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("key", "words", "form", "printed"),
    [
        ("psFormat", ["ps", "-a"], "table {{.Names}}", "NAMES"),
        ("imagesFormat", ["images"], "{{.Repository}}", "busybox"),
        ("volumesFormat", ["volume", "ls"], "{{.Name}}", "fmt-volume"),
        ("networksFormat", ["network", "ls"], "{{.Name}}", "none"),
    ],
)
def test_formats_of_the_user(
    ketchd: Ketchd, tmp_path: Path, key: str, words: list[str], form: str, printed: str
) -> None:
    ketch(ketchd, "volume", "create", "fmt-volume")
    ketch(ketchd, "create", "--name", "fmt-container", "busybox")
    lines = with_config(ketchd, tmp_path, {key: form}, *words).splitlines()
    assert printed in lines
    assert all(" " not in line.strip() for line in lines)
    assert "{" in with_config(ketchd, tmp_path, {key: form}, *words, "--format", "json")
    ids = with_config(ketchd, tmp_path, {key: form}, *words, "-q")
    assert "NAMES" not in ids
    ketch(ketchd, "volume", "rm", "fmt-volume")
    ketch(ketchd, "rm", "fmt-container")


def test_prune_asks_first(ketchd: Ketchd) -> None:
    ketch(ketchd, "create", "--name", "prune-me", "--label", "prune=1", "busybox", "true")
    kept = ketch(ketchd, "container", "prune", "--filter", "label=prune=1", input=b"n\n")
    assert kept.stdout.decode() == (
        "WARNING! This will remove all stopped containers.\n"
        "Are you sure you want to continue? [y/N] "
    )
    identity = out(ketchd, "ps", "-aq", "--no-trunc", "--filter", "name=prune-me")
    done = ketch(ketchd, "container", "prune", "--filter", "label=prune=1", input=b"y\n")
    assert done.stdout.decode().endswith(
        f"[y/N] Deleted Containers:\n{identity}\n\nTotal reclaimed space: 0B\n"
    )


def test_filters_of_the_user_are_pruned_by(ketchd: Ketchd, tmp_path: Path) -> None:
    ketch(ketchd, "create", "--name", "keep-me", "--label", "keep=1", "busybox", "true")
    ketch(ketchd, "create", "--name", "lose-me", "busybox", "true")
    config: dict[str, object] = {"pruneFilters": ["label!=keep=1"]}
    with_config(ketchd, tmp_path, config, "container", "prune", "-f")
    assert "keep-me" in out(ketchd, "ps", "-a", "--format", "{{.Names}}").split()
    with_config(ketchd, tmp_path, config, "container", "prune", "-f", "--filter", "label=keep=1")
    assert "keep-me" not in out(ketchd, "ps", "-a", "--format", "{{.Names}}").split()


def test_prune_of_the_whole(ketchd: Ketchd) -> None:
    ketch(ketchd, "create", "--name", "gone", "busybox", "true")
    volume = out(ketchd, "volume", "create")
    ketch(ketchd, "network", "create", "gone-net")
    ketch(ketchd, "volume", "create", "named")
    asked = ketch(ketchd, "system", "prune", "--volumes", input=b"\n").stdout.decode()
    theirs = ketchd.docker("system", "prune", "--volumes", input=b"\n", code=None).stdout.decode()
    assert asked == theirs
    done = out(ketchd, "system", "prune", "--volumes", "-f")
    assert "Deleted Containers:" in done
    assert "Deleted Networks:\ngone-net\n" in done
    assert f"Deleted Volumes:\n{volume}\n" in done
    assert done.splitlines()[-1].startswith("Total reclaimed space: ")
    assert "named" in out(ketchd, "volume", "ls", "-q")
    assert "Deleted Volumes:\nnamed\n" in out(ketchd, "volume", "prune", "-af")
    assert "Total reclaimed space: 0B" in out(ketchd, "builder", "prune", "-f")
    assert out(ketchd, "network", "prune", "-f") == ""


def test_image_prune(ketchd: Ketchd) -> None:
    ketch(ketchd, "import", "-c", "ENV A=1", "-m", "words", "-", "dangles:1", input=empty_tar())
    ketch(ketchd, "import", "-c", "ENV A=2", "-", "dangles:1", input=empty_tar())
    assert "deleted: sha256:" in out(ketchd, "image", "prune", "-f")
    assert "dangles" in out(ketchd, "images")
    assert out(ketchd, "history", "--format", "{{.Comment}}", "dangles:1") == "Imported from -"
    ketch(ketchd, "rmi", "dangles:1")


def empty_tar() -> bytes:
    return b"\0" * 10240


def test_networks(ketchd: Ketchd) -> None:
    octet = int(ketchd.tag[2:4], 16)
    ketch(
        ketchd, "network", "create", "--subnet", f"10.201.{octet}.0/24", "--gateway",
        f"10.201.{octet}.9", "--label", "a=b", "--internal", "cli-net",
    )  # fmt: skip
    form = "{{(index .IPAM.Config 0).Gateway}} {{.Labels.a}} {{.Internal}}"
    assert out(ketchd, "network", "inspect", "-f", form, "cli-net") == f"10.201.{octet}.9 b true"
    assert "cli-net" in out(ketchd, "network", "ls", "--filter", "label=a", "--format", "{{.Name}}")
    assert out(ketchd, "network", "rm", "cli-net") == "cli-net"
    for words, message in (
        (["--gateway", "1.2.3.4"], "must have a corresponding subnet"),
        (["--subnet", "10.201.0.0/24", "--gateway", "1.2.3.4"], "no matching subnet for gateway"),
        (["--subnet", "x"], "invalid address"),
    ):
        done = ketch(ketchd, "network", "create", *words, "cli-net", code=1)
        assert message in done.stderr.decode()


def test_volumes(ketchd: Ketchd) -> None:
    ketch(
        ketchd, "volume", "create", "--label", "a=b", "-o", "type=tmpfs", "-o", "device=tmpfs",
        "-o", "o=size=1m", "cli-vol",
    )  # fmt: skip
    form = "{{.Labels.a}} {{.Options.type}} {{.Options.o}}"
    assert out(ketchd, "volume", "inspect", "-f", form, "cli-vol") == "b tmpfs size=1m"
    assert out(ketchd, "volume", "rm", "cli-vol", "-f") == "cli-vol"
    for words in (["create", "--availability", "pause", "x"], ["ls", "--cluster"], ["update", "x"]):
        assert b"not supported" in ketch(ketchd, "volume", *words, code=1).stderr


def test_commit_with_changes(ketchd: Ketchd, name: str) -> None:
    ketch(ketchd, "run", "--name", name, "busybox", "touch", "/made")
    ketch(
        ketchd, "commit", "-a", "A B <a@b>", "-m", "why", "-c", "ENV X=1",
        "-c", 'CMD ["ls", "/made"]', "--pause=false", name, "committed:1",
    )  # fmt: skip
    assert out(ketchd, "run", "--rm", "committed:1") == "/made"
    form = "{{.Author}} {{.Comment}} {{.Config.Cmd}}"
    assert out(ketchd, "image", "inspect", "-f", form, "committed:1") == "A B <a@b> why [ls /made]"
    ketch(ketchd, "rmi", "committed:1")


def test_archives_by_pipes(ketchd: Ketchd, name: str, tmp_path: Path) -> None:
    for tag in ("pipe:1", "pipe:2"):
        ketch(ketchd, "tag", "busybox", tag)
    both = ketch(ketchd, "save", "pipe:1", "pipe:2").stdout
    ketch(ketchd, "rmi", "pipe:1", "pipe:2")
    loaded = ketch(ketchd, "load", "-q", input=both).stdout.decode()
    assert "Loaded image: pipe:1" in loaded
    assert "Loaded image: pipe:2" in loaded
    ketch(ketchd, "rmi", "pipe:1", "pipe:2")
    ketch(ketchd, "create", "--name", name, "busybox", "true")
    ketch(ketchd, "export", "-o", str(tmp_path / "tree.tar"), name)
    identity = out(ketchd, "import", "-c", 'CMD ["echo", "hi"]', str(tmp_path / "tree.tar"), "flat")
    assert identity.startswith("sha256:")
    assert out(ketchd, "run", "--rm", "flat") == "hi"
    ketch(ketchd, "rmi", "flat")
    assert list(tmp_path.iterdir()) == [tmp_path / "tree.tar"]
    done = ketch(ketchd, "export", "-o", str(tmp_path / "none" / "x"), name, code=1)
    assert "does not exist" in done.stderr.decode()


def test_verbs_on_several(ketchd: Ketchd) -> None:
    names = ["many-1", "many-2"]
    for name in names:
        ketch(ketchd, "run", "-d", "--name", name, "busybox", "sleep", "600")
    assert out(ketchd, "pause", *names).split() == names
    assert out(ketchd, "unpause", *names).split() == names
    assert out(ketchd, "restart", "-t", "0", *names).split() == names
    done = ketch(ketchd, "kill", "-s", "KILL", *names, "nobody", code=1)
    assert done.stdout.decode().split() == names
    assert b"No such container: nobody" in done.stderr
    assert out(ketchd, "wait", *names).split() == ["137", "137"]
    assert out(ketchd, "start", *names).split() == names
    assert out(ketchd, "stop", "--time", "0", *names).split() == names
    assert out(ketchd, "rm", *names).split() == names


def test_stats_beside_docker(ketchd: Ketchd, name: str) -> None:
    ketch(ketchd, "run", "-d", "--name", name, "busybox", "sleep", "600")
    mine = json.loads(out(ketchd, "stats", "--no-stream", "--format", "json", name))
    theirs = json.loads(ketchd.out("stats", "--no-stream", "--format", "json", name))
    assert mine.keys() == theirs.keys()
    for key in ("ID", "Name", "PIDs", "Container"):
        assert mine[key] == theirs[key]
    assert mine["MemUsage"].partition(" / ")[2] == theirs["MemUsage"].partition(" / ")[2]
    header = out(ketchd, "stats", "--no-stream", name).splitlines()[0].split("  ")
    assert header[0] == "CONTAINER ID"


def test_stats_live_and_its_end(ketchd: Ketchd, name: str) -> None:
    ketch(ketchd, "run", "-d", "--name", name, "busybox", "sh", "-c", "while :; do :; done")
    env = {**os.environ, "KETCH_HOST": f"unix://{ketchd.socket}"}
    session = Terminal([KETCH, "stats", name], env)
    try:
        session.expect(name)
        session.expect(r"[1-9]\d*\.\d\d%")
        session.send(b"\x03")
        assert session.wait() == 130
    finally:
        session.close()
    ketch(ketchd, "rm", "-f", name)


def test_progress_on_a_terminal_and_quiet_without(ketchd: Ketchd, tmp_path: Path) -> None:
    archive = tmp_path / "one.tar"
    ketch(ketchd, "save", "-o", str(archive), "busybox")
    env = {**os.environ, "KETCH_HOST": f"unix://{ketchd.socket}", "TERM": "xterm"}
    session = Terminal([KETCH, "load", "-i", str(archive)], env)
    try:
        session.expect("Loaded image: ")
        assert session.wait() == 0
    finally:
        session.close()
    assert out(ketchd, "load", "-i", str(archive)).startswith("Loaded image: busybox")
    assert ketch(ketchd, "load", "-i", str(archive)).stderr == b""


def test_cidfile(ketchd: Ketchd, name: str, tmp_path: Path) -> None:
    path = tmp_path / "cid"
    words = ["create", "--cidfile", str(path), "--name", name, "busybox"]
    identity = out(ketchd, *words)
    assert path.read_text() == identity
    assert b"container ID file found" in ketch(ketchd, *words, code=1).stderr
    assert b"container ID file found" in ketch(ketchd, "run", *words[1:], code=125).stderr
    path.unlink()
    ketch(ketchd, *words, code=1)  # the name is taken
    assert not path.exists()
