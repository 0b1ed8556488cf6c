"""Restart policies: who is started again, how often, and what survives the daemon."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from e2e.ketchd_process import Ketchd, wait_for

pytestmark = pytest.mark.root

FOREVER = ("busybox", "sleep", "600")


def inspect(ketchd: Ketchd, name: str) -> dict[str, Any]:
    found = json.loads(ketchd.out("inspect", name))[0]
    assert isinstance(found, dict)
    return found


def status(ketchd: Ketchd, name: str) -> str:
    return str(inspect(ketchd, name)["State"]["Status"])


def reaches(ketchd: Ketchd, name: str, *wanted: str) -> None:
    wait_for(lambda: status(ketchd, name) in wanted, f"{name} never was {wanted}")


def test_on_failure_gives_up_after_its_number(ketchd: Ketchd, name: str) -> None:
    words = ("--restart", "on-failure:2", "busybox", "sh", "-c", "echo run; exit 3")
    ketchd.docker("run", "-d", "--name", name, *words)
    reaches(ketchd, name, "exited")
    found = inspect(ketchd, name)
    assert found["RestartCount"] == 2
    assert found["State"]["ExitCode"] == 3
    assert ketchd.out("logs", name).split() == ["run"] * 3
    ketchd.docker("start", name)  # counts anew
    wait_for(lambda: len(ketchd.out("logs", name).split()) == 6, "it was not started three times")


@pytest.mark.parametrize("policy", ["no", "on-failure", "on-failure:5"])
def test_success_needs_no_restart(ketchd: Ketchd, name: str, policy: str) -> None:
    ketchd.docker("run", "--name", name, "--restart", policy, "busybox", "true")
    found = inspect(ketchd, name)
    assert (found["State"]["Status"], found["RestartCount"]) == ("exited", 0)


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_always_means_success_too(ketchd: Ketchd, name: str, policy: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "--restart", policy, "busybox", "true")
    wait_for(lambda: inspect(ketchd, name)["RestartCount"] >= 2, "it was not restarted")
    ketchd.docker("rm", "-f", name)


@pytest.mark.parametrize("command", [("stop",), ("kill",), ("rm", "-f")])
def test_what_waits_for_its_restart_can_be_ended(
    ketchd: Ketchd, name: str, command: tuple[str, ...]
) -> None:
    ketchd.docker("run", "-d", "--name", name, "--restart", "always", "busybox", "false")
    wait_for(lambda: inspect(ketchd, name)["RestartCount"] >= 3, "it was not restarted")
    reaches(ketchd, name, "restarting")  # for 0.8 s and longer now
    ketchd.docker(*command, name)
    if command[0] == "rm":
        assert not ketchd.out("ps", "-aq", "-f", f"name=^{name}$")
        return
    found = inspect(ketchd, name)
    assert found["State"]["Status"] == "exited"
    assert found["State"]["Restarting"] is False
    count = found["RestartCount"]
    ketchd.docker("start", name)
    wait_for(lambda: inspect(ketchd, name)["RestartCount"] in (1, 2), f"counts on from {count}")


@pytest.mark.parametrize("command", ["stop", "kill"])
def test_what_a_user_ended_stays_ended(ketchd: Ketchd, name: str, command: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "--restart", "always", *FOREVER)
    ketchd.docker(command, *(("-t", "0") if command == "stop" else ()), name)
    assert ketchd.out("wait", name) == "137"
    found = inspect(ketchd, name)
    assert (found["State"]["Status"], found["RestartCount"]) == ("exited", 0)


def test_update_gives_and_takes_a_policy(ketchd: Ketchd, name: str) -> None:
    script = "while ! test -e /go; do sleep 0.05; done; rm /go; exit 1"
    ketchd.docker("run", "-d", "--name", name, "busybox", "sh", "-c", script)
    ketchd.docker("update", "--restart", "always", name)
    ketchd.docker("exec", name, "touch", "/go")
    wait_for(lambda: inspect(ketchd, name)["RestartCount"] == 1, "the policy was not heeded")
    reaches(ketchd, name, "running")
    found = inspect(ketchd, name)["HostConfig"]["RestartPolicy"]
    assert found == {"Name": "always", "MaximumRetryCount": 0}
    ketchd.docker("update", "--restart", "no", name)
    ketchd.docker("stop", "-t", "0", name)
    assert status(ketchd, name) == "exited"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_over_a_restart_of_the_daemon(ketchd: Ketchd, name: str, number: int) -> None:
    """``always`` comes back whoever ended it; ``unless-stopped`` only if nobody did."""
    names = {policy: f"{name}-{policy}" for policy in ("always", "unless-stopped", "no")}
    crashing = f"{name}-crashing"
    try:
        for policy, container in names.items():
            ketchd.docker("run", "-d", "--name", container, "--restart", policy, *FOREVER)
        script = "test -e /again && exec sleep 600; touch /again; sleep 0.3; exit 1"
        words = ("--restart", "unless-stopped", "busybox", "sh", "-c", script)
        ketchd.docker("run", "-d", "--name", crashing, *words)
        ketchd.docker("stop", "-t", "0", *names.values())
        ketchd.stop(number)
        ketchd.start()
        reaches(ketchd, names["always"], "running")
        reaches(ketchd, crashing, "running")
        assert status(ketchd, names["unless-stopped"]) == "exited"
        assert status(ketchd, names["no"]) == "exited"
    finally:
        ketchd.docker("rm", "-f", crashing, *names.values(), code=None)


def test_with_rm_there_is_no_policy(ketchd: Ketchd) -> None:
    done = ketchd.docker("run", "--rm", "--restart", "always", *FOREVER, code=125)
    assert b"onflicting options" in done.stderr or b"AutoRemove" in done.stderr
