"""Completion in the real shells: bash, zsh and fish, with names that the engine has now."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.ketch_program import KETCH, ketch, out
from e2e.ketchd_process import Ketchd, Terminal

pytestmark = pytest.mark.root
BASH_COMPLETION = "/usr/share/bash-completion/bash_completion"


@pytest.fixture(scope="module")
def engine(ketchd: Ketchd) -> Iterator[Ketchd]:
    """Names to complete."""
    ketchd.docker("run", "-d", "--name", "compl-up", "busybox", "sleep", "600")
    ketchd.docker("create", "--name", "compl-made", "busybox", "true")
    ketchd.docker("volume", "create", "compl-vol")
    ketchd.docker("tag", "busybox", "compl/image:one")
    yield ketchd
    ketchd.docker("rm", "-f", "compl-up", "compl-made")
    ketchd.docker("volume", "rm", "compl-vol")
    ketchd.docker("rmi", "compl/image:one")


def asked(engine: Ketchd, *words: str) -> tuple[dict[str, str], str]:
    """(candidates with descriptions, letters for the shell)."""
    *lines, last = out(engine, "__complete", *words).splitlines()
    assert last.startswith(":")
    return dict(line.partition("\t")[::2] for line in lines), last[1:]


@pytest.mark.parametrize(
    ("words", "wanted", "unwanted"),
    [
        (("st",), {"start", "stats", "stop"}, {"rm"}),
        (("image", "pr"), {"prune"}, set()),
        (("builder", "h"), {"history"}, {"history ls"}),
        (("build", "history", "s"), {"show"}, {"ls"}),
        (("buildx", "history", "show", "--ty"), {"--type"}, set()),
        (("--ho",), {"--host"}, set()),
        (("-c", ""), {"default"}, set()),
        (("help", "p"), {"ps", "pull", "push"}, set()),
        (("run", "--restart", "on"), {"on-failure", "on-failure:"}, {"always"}),
        (("run", "--restart=al"), {"--restart=always"}, set()),
        (("run", "--log-driver", ""), {"json-file", "none"}, set()),
        (("run", "--cap-add", "CAP_NET_A"), {"CAP_NET_ADMIN"}, set()),
        (("run", "--rm", "compl"), {"compl/image:one"}, {"compl-up"}),
        (("run", "-v", "compl"), {"compl-vol"}, set()),
        (("run", "--network", ""), {"bridge", "host", "none"}, set()),
        (("rm", "compl"), {"compl-up", "compl-made"}, set()),
        (("rm", "compl-up", "compl"), {"compl-made"}, {"compl-up"}),
        (("stop", "compl"), {"compl-up"}, {"compl-made"}),
        (("start", "compl"), {"compl-made"}, {"compl-up"}),
        (("kill", "-s", "SIGT"), {"SIGTERM", "SIGTRAP"}, {"SIGHUP"}),
        (("ps", "--filter", "st"), {"status="}, set()),
        (("ps", "-f", "status=ex"), {"status=exited"}, set()),
        (("ps", "--filter=name=compl-u"), {"--filter=name=compl-up"}, set()),
        (("logs", "-n", "5", "compl-u"), {"compl-up"}, set()),
        (("logs", "-n5", "compl-u"), {"compl-up"}, set()),
        (("cp", "compl-u"), {"compl-up:"}, set()),
        (("inspect", "compl"), {"compl-up", "compl-vol", "compl/image:one"}, set()),
        (("volume", "rm", "comp"), {"compl-vol"}, set()),
        (("rmi", "compl"), {"compl/image:one"}, set()),
        (("exec", "compl-up", "-"), set(), {"--env", "-e"}),
    ],
)
def test_candidates(
    engine: Ketchd, words: tuple[str, ...], wanted: set[str], unwanted: set[str]
) -> None:
    found, _ = asked(engine, *words)
    assert wanted <= found.keys()
    assert not unwanted & found.keys()


def test_descriptions_and_letters_for_the_shell(engine: Ketchd) -> None:
    assert asked(engine, "rm", "compl-up")[0]["compl-up"].startswith("busybox, Up")
    assert asked(engine, "run", "--na")[0]["--name"] == "Assign a name to the container"
    assert asked(engine, "cp", "compl-u")[1] == "fn"
    assert asked(engine, "cp", "compl-up:/e") == ({}, "")
    assert asked(engine, "build", "")[1] == "d"
    assert asked(engine, "run", "--env-file", "")[1] == "f"


def test_silence_without_a_daemon(tmp_path: Path) -> None:
    done = subprocess.run(
        [KETCH, "-H", f"unix://{tmp_path}/none.sock", "__complete", "rm", ""],
        capture_output=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b":\n", b"")


def environment(engine: Ketchd, home: Path) -> dict[str, str]:
    path = f"{Path(KETCH).parent}:{os.environ['PATH']}"
    return {
        "PATH": path,
        "HOME": str(home),
        "KETCH_HOST": f"unix://{engine.socket}",
        "LANG": "C.UTF-8",
        "XDG_CONFIG_HOME": str(home / "config"),
    }


def needs(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"needs {shell}")
    return path


def test_bash(engine: Ketchd, tmp_path: Path) -> None:
    script = tmp_path / "ketch.bash"
    script.write_bytes(ketch(engine, "completion", "bash").stdout)
    rc = tmp_path / "rc"
    rc.write_text(
        f"[ -r {BASH_COMPLETION} ] && . {BASH_COMPLETION}\n. {script}\nPS1='READY> '\n"
        "bind 'set bell-style none' 'set enable-bracketed-paste off' 2>/dev/null\n"
    )
    session = Terminal(
        [needs("bash"), "--noprofile", "--rcfile", str(rc), "-i"], environment(engine, tmp_path)
    )
    try:
        session.expect("READY> ")
        session.send(b"ketch ima\t")
        session.expect("ketch image")
        session.send(b"\x15ketch stop compl-\t")
        session.expect("compl-up ")
        session.send(b"\x15ketch run --restart=unl\t")
        session.expect("--restart=unless-stopped ")
        session.send(b"\x15ketch rmi compl/image:o\t")
        session.expect("compl/image:one ")
        session.send(b"\x15ketch run --env-file " + bytes(tmp_path) + b"/ketch.b\t")
        session.expect("ketch.bash ")
        session.send(b"\x15ketch ps --filter stat\tex\t")
        session.expect("status=exited ")
        session.send(b"\x15exit\r")
        session.wait()
    finally:
        session.close()


def test_zsh(engine: Ketchd, tmp_path: Path) -> None:
    functions = tmp_path / "functions"
    functions.mkdir()
    (functions / "_ketch").write_bytes(ketch(engine, "completion", "zsh").stdout)
    (tmp_path / ".zshrc").write_text(
        f"fpath=({functions} $fpath)\nautoload -Uz compinit && compinit -u -D\n"
        "unsetopt beep prompt_sp zle_bracketed_paste 2>/dev/null\nPS1='READY> '\n"
    )
    session = Terminal([needs("zsh"), "-i"], environment(engine, tmp_path))
    try:
        session.expect("READY> ")
        session.send(b"ketch stop compl-\t")
        session.expect("compl-up")
        session.send(b"\x15ketch run --restart unl\t")
        session.expect("ess-stopped")
        session.send(b"\x15ketch stats --no-\t")
        session.expect("no-stream .*Disable streaming|Disable streaming")
        session.send(b"\x15exit\r")
        session.wait()
    finally:
        session.close()


def test_fish(engine: Ketchd, tmp_path: Path) -> None:
    script = tmp_path / "ketch.fish"
    script.write_bytes(ketch(engine, "completion", "fish").stdout)

    def completed(line: str) -> list[str]:
        done = subprocess.run(
            [needs("fish"), "--no-config", "-c", f"source {script}; complete -C '{line}'"],
            env=environment(engine, tmp_path),
            capture_output=True,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        return [line.partition("\t")[0] for line in done.stdout.splitlines()]

    assert completed("ketch stop compl-") == ["compl-up"]
    assert completed("ketch run --restart=unl") == ["--restart=unless-stopped"]
    assert completed("ketch run --restart unl") == ["unless-stopped"]
    assert "stats" in completed("ketch st")
    (tmp_path / "file.env").touch()
    assert f"{tmp_path}/file.env" in completed(f"ketch run --env-file {tmp_path}/fi")
    assert f"--env-file={tmp_path}/file.env" in completed(f"ketch run --env-file={tmp_path}/fi")


def test_no_other_shell(engine: Ketchd) -> None:
    assert "not for tcsh" in ketch(engine, "completion", "tcsh", code=1).stderr.decode()
