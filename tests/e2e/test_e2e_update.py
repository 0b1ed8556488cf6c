"""Ports, labels, environment and mounts of a container that is there are changed."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import IMAGE
from e2e.ketch_program import ketch, out
from e2e.ketchd_process import Ketchd, wait_for
from free_networks import free_port

pytestmark = pytest.mark.root
SERVE = (
    "sh",
    "-c",
    "echo kept > /own; nc -ll -p 80 -e echo eighty & exec nc -ll -p 81 -e echo more",
)


def said(port: int, address: str = "127.0.0.1") -> str:
    """What the server behind a published port says; empty when nobody is there."""
    try:
        with socket.create_connection((address, port), 5) as sock:
            return sock.recv(100).decode().strip()
    except OSError:
        return ""


def inspected(daemon: Ketchd, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(daemon.out("inspect", name))[0]
    return found


@pytest.fixture
def server(ketchd: Ketchd, name: str) -> Iterator[tuple[str, int]]:
    port = free_port()
    ketchd.docker(
        "run", "-d", "--name", name, "-p", f"{port}:80", "--label", "a=1", "-e", "A=1", "-e", "B=1",
        IMAGE, *SERVE,
    )  # fmt: skip
    wait_for(lambda: said(port) == "eighty", "the server does not answer")
    return name, port


def test_ports_change_while_it_runs(ketchd: Ketchd, server: tuple[str, int]) -> None:
    name, port = server
    pid = ketchd.out("inspect", "-f", "{{.State.Pid}}", name)
    other = free_port()
    done = ketch(ketchd, "update", "-p", f"{other}:81", name)
    assert done.stdout.decode().strip() == name
    assert not done.stderr
    assert said(other) == said(other, "::1") == "more"
    assert said(port) == "eighty"
    assert str(other) in ketchd.out("ps", "--filter", f"name={name}", "--format", "{{.Ports}}")
    ketch(ketchd, "update", "--publish-rm", "80", name)
    assert said(port) == said(port, "::1") == ""
    assert said(other) == "more"
    found = inspected(ketchd, name)
    published = [{"HostIp": address, "HostPort": str(other)} for address in ("0.0.0.0", "::")]
    assert found["NetworkSettings"]["Ports"] == {"80/tcp": None, "81/tcp": published}
    assert found["HostConfig"]["PortBindings"] == {
        "81/tcp": [{"HostIp": "", "HostPort": str(other)}]
    }
    assert str(found["State"]["Pid"]) == pid
    assert "Ketch" not in found
    # one request may lead a port somewhere else
    ketch(ketchd, "update", "--publish-rm", f"{other}:81", "-p", f"{other}:80", name)
    assert said(other) == "eighty"
    assert said(other, "::1") == "eighty"


def test_changed_ports_survive_daemon_and_restart(ketchd: Ketchd, server: tuple[str, int]) -> None:
    name, port = server
    other = free_port()
    ketch(ketchd, "update", "-p", f"{other}:81", "--publish-rm", str(port) + ":80", name)
    ketchd.stop(signal.SIGKILL)
    ketchd.start()
    assert said(other) == said(other, "::1") == "more"
    assert said(port) == said(port, "::1") == ""
    ketchd.docker("restart", "-t", "0", name)
    wait_for(lambda: said(other) == "more", "not published after a restart")
    assert said(port) == ""


def test_a_taken_port_changes_nothing(ketchd: Ketchd, server: tuple[str, int]) -> None:
    name, port = server
    before = inspected(ketchd, name)
    volumes = ketchd.out("volume", "ls", "-q")
    with socket.create_server(("0.0.0.0", 0)) as taken:
        number = taken.getsockname()[1]
        done = ketch(
            ketchd, "update", "-p", f"{number}:81", "--publish-rm", "80", "--label", "b=2",
            "-e", "C=3", "--mount", "type=volume,target=/v", name, code=1,
        )  # fmt: skip
    taken = (
        rf"failed to bind host port for 0\.0\.0\.0:{number}:[0-9.]+:81/tcp: address already in use"
    )
    assert re.search(taken, done.stderr.decode())
    assert said(port) == "eighty"
    after = inspected(ketchd, name)
    assert {k: v for k, v in after.items() if k != "State"} == {
        k: v for k, v in before.items() if k != "State"
    }
    assert ketchd.out("volume", "ls", "-q") == volumes


def test_labels_at_once_environment_at_the_next_start(
    ketchd: Ketchd, server: tuple[str, int]
) -> None:
    name, _ = server
    done = ketch(
        ketchd, "update", "--label", "b=2", "--label-rm", "a", "-e", "A=2", "--env-rm", "B",
        "--env", "C=3", name,
    )  # fmt: skip
    assert done.stderr.decode() == f"{name}: at the next start: environment\n"
    assert ketchd.out("ps", "-q", "--filter", "label=b=2") != ""
    found = inspected(ketchd, name)
    assert found["Config"]["Labels"] == {"b": "2"}
    assert {"A=1", "B=1"} <= set(found["Config"]["Env"])  # what runs has what it had
    assert ketchd.out("exec", name, "sh", "-c", "echo $A$B$C") == "11"
    waiting = set(found["Ketch"]["NextStart"]["Env"])
    assert {"A=2", "C=3"} <= waiting
    assert "B=1" not in waiting
    ketchd.stop(signal.SIGKILL)
    ketchd.start()
    ketch(ketchd, "update", "--env-rm", "C", name)
    ketchd.docker("restart", "-t", "0", name)
    assert ketchd.out("exec", name, "sh", "-c", "echo $A$B$C; cat /own") == "2\nkept"
    assert "Ketch" not in inspected(ketchd, name)


def test_mounts_at_the_next_start(ketchd: Ketchd, server: tuple[str, int], tmp_path: Path) -> None:
    name, _ = server
    (tmp_path / "file").write_text("from the host\n")
    ketch(
        ketchd, "update", "--mount", f"type=bind,source={tmp_path},target=/host,readonly",
        "--mount", f"type=volume,source={name}-v,target=/etc", name,
    )  # fmt: skip
    assert inspected(ketchd, name)["Mounts"] == []
    targets = {m["Destination"] for m in inspected(ketchd, name)["Ketch"]["NextStart"]["Mounts"]}
    assert targets == {"/host", "/etc"}
    assert "in use" in ketchd.docker("volume", "rm", f"{name}-v", code=1).stderr.decode()
    ketchd.docker("restart", "-t", "0", name)
    assert ketchd.out("exec", name, "cat", "/host/file", "/own") == "from the host\nkept"
    ketchd.docker("exec", name, "touch", "/host/no", code=1)
    assert {m["Destination"] for m in inspected(ketchd, name)["Mounts"]} == {"/host", "/etc"}
    ketchd.docker("stop", "-t", "0", name)
    ketch(ketchd, "update", "--mount-rm", "/host", "--mount-rm", "/etc/", name)
    assert inspected(ketchd, name)["Mounts"] == []
    assert "Ketch" not in inspected(ketchd, name)
    ketchd.docker("start", name)
    ketchd.docker("exec", name, "cat", "/host/file", code=1)
    ketchd.docker("volume", "rm", f"{name}-v")


def test_binds_of_docker_are_removed_by_target(ketchd: Ketchd, name: str, tmp_path: Path) -> None:
    ketchd.docker(
        "create", "--name", name, "-v", f"{tmp_path}:/one", "-v", f"{tmp_path}:/two",
        "-v", "/three", IMAGE, "true",
    )  # fmt: skip
    ketch(ketchd, "update", "--mount-rm", "/one", "--mount-rm", "/three", name)
    found = inspected(ketchd, name)
    assert found["HostConfig"]["Binds"] == [f"{tmp_path}:/two"]
    assert [m["Destination"] for m in found["Mounts"]] == ["/two"]
    ketchd.docker("volume", "prune", "-f")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--publish-rm", "99"), "publishes no port 99"),
        (("--publish-rm", "x"), "invalid port to remove"),
        (("--label-rm", "none"), "no label 'none'"),
        (("--env-rm", "NONE"), "no environment variable 'NONE'"),
        (("--mount-rm", "/none"), "nothing is mounted at /none"),
        (("--label", "ketch.health.tcp=1"), "counts when a container is created only"),
        (("--mount", "type=bind,source=/ketch/is/not/here,target=/x"), "does not exist"),
        (("--mount", "type=tmpfs,target=relative"), "must be absolute"),
        (("-p", "70000:80"), "invalid hostPort: 70000"),
    ],
)
def test_nonsense_is_refused(
    ketchd: Ketchd, name: str, words: tuple[str, ...], message: str
) -> None:
    ketchd.docker("create", "--name", name, IMAGE, "true")
    done = ketch(ketchd, "update", *words, name, code=None)
    assert done.returncode
    assert message in done.stderr.decode()


def test_dockers_own_update_is_as_before(ketchd: Ketchd, name: str) -> None:
    """The docker CLI sends an empty restart policy when none is asked for."""
    ketchd.docker("run", "-d", "--name", name, "--restart", "always", IMAGE, "sleep", "1000")
    ketchd.docker("update", "--memory", "64m", "--memory-swap", "64m", name)
    assert ketchd.out("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", name) == "always"
    ketch(ketchd, "update", "-m", "32m", "--memory-swap", "32m", "--restart", "no", name)
    assert out(ketchd, "inspect", "-f", "{{.HostConfig.Memory}}", name) == str(32 << 20)
    assert ketchd.out("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", name) == "no"


def test_the_host_network_has_no_ports(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "--network", "host", IMAGE, "sleep", "1000")
    done = ketch(ketchd, "update", "-p", "8080:80", name)
    assert b"discarded when using host network mode" in done.stderr
    with contextlib.suppress(OSError):
        assert said(8080) != "eighty"
