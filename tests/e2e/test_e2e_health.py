"""Health checks through the real docker CLI and our own: outcome, log, events, actions."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import IMAGE
from e2e.ketch_program import ketch, out
from e2e.ketchd_process import Ketchd, wait_for

pytestmark = pytest.mark.root
FAST = ("--health-interval", "100ms", "--health-retries", "2")
HTTPD = ("sh", "-c", "mkdir /w; echo fine > /w/index.html; exec httpd -f -p 8080 -h /w")


def state(daemon: Ketchd, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(daemon.out("inspect", "-f", "{{json .State}}", name))
    return found


def becomes(daemon: Ketchd, name: str, status: str) -> dict[str, Any]:
    wait_for(lambda: state(daemon, name)["Health"]["Status"] == status, f"{name} is never {status}")
    health: dict[str, Any] = state(daemon, name)["Health"]
    return health


def inside(daemon: Ketchd, name: str, *words: str) -> None:
    daemon.docker("exec", name, *words)


def test_turns_with_the_command_and_is_told(ketchd: Ketchd, name: str) -> None:
    ketchd.docker(
        "run", "-d", "--name", name, "--health-cmd", "echo looked; test -f /ok", *FAST,
        IMAGE, "sh", "-c", "touch /ok; exec sleep 1000",
    )  # fmt: skip
    health = becomes(ketchd, name, "healthy")
    assert health["FailingStreak"] == 0
    assert health["Log"][-1]["ExitCode"] == 0
    assert health["Log"][-1]["Output"] == "looked\n"
    assert "(healthy)" in ketchd.out("ps", "--filter", f"name={name}", "--format", "{{.Status}}")
    inside(ketchd, name, "rm", "/ok")
    health = becomes(ketchd, name, "unhealthy")
    assert health["FailingStreak"] >= 2
    wait_for(lambda: len(state(ketchd, name)["Health"]["Log"]) == 5, "five probes are kept")
    events = ketchd.out(
        "events", "--since", "1m", "--until", f"{time.time():.9f}", "--filter", f"container={name}",
        "--format", "{{.Action}}",
    ).splitlines()  # fmt: skip
    assert [e for e in events if e.startswith("health")] == [
        "health_status: healthy",
        "health_status: unhealthy",
    ]
    probe = "/bin/sh -c echo looked; test -f /ok"
    assert f"exec_create: {probe}" in events
    assert f"exec_start: {probe}" in events
    assert "exec_die" in events


def test_output_is_cut_and_marked(ketchd: Ketchd, name: str) -> None:
    many = "head -c 9000 /dev/zero | tr '\\0' x"
    ketchd.docker("run", "-d", "--name", name, "--health-cmd", many, *FAST, IMAGE, "sleep", "1000")
    health = becomes(ketchd, name, "healthy")
    assert health["Log"][0]["Output"] == "x" * 4096 + "..."


def test_a_slow_probe_is_killed_with_its_children(ketchd: Ketchd, name: str) -> None:
    ketchd.docker(
        "run", "-d", "--name", name, "--health-cmd", "echo begun; sleep 4321 & sleep 4321",
        "--health-timeout", "300ms", *FAST, IMAGE, "sleep", "1000",
    )  # fmt: skip
    health = becomes(ketchd, name, "unhealthy")
    assert health["Log"][0]["ExitCode"] == -1
    assert health["Log"][0]["Output"] == "Health check exceeded timeout (300ms): begun\n"
    wait_for(lambda: state(ketchd, name)["Health"]["FailingStreak"] >= 6, "no more probes")
    of_one_probe = 4  # twice in the line of the shell, and two sleeps
    assert ketchd.out("top", name).count("4321") <= of_one_probe


def test_the_start_period_forgives(ketchd: Ketchd, name: str) -> None:
    ketchd.docker(
        "run", "-d", "--name", name, "--health-cmd", "test -f /ok", "--health-retries", "1",
        "--health-start-period", "1h", "--health-start-interval", "100ms", IMAGE, "sleep", "1000",
    )  # fmt: skip
    wait_for(lambda: len(state(ketchd, name)["Health"]["Log"]) >= 3, "no probes")
    assert state(ketchd, name)["Health"]["Status"] == "starting"
    assert state(ketchd, name)["Health"]["FailingStreak"] == 0
    inside(ketchd, name, "touch", "/ok")
    becomes(ketchd, name, "healthy")


def test_a_restart_begins_anew(ketchd: Ketchd, name: str) -> None:
    ketchd.docker(
        "run", "-d", "--name", name, "--health-cmd", "false", *FAST, IMAGE, "sleep", "1000"
    )
    becomes(ketchd, name, "unhealthy")
    ketchd.docker("update", "--restart", "no", name)
    ketchd.docker("stop", "-t", "0", name)
    assert state(ketchd, name)["Health"]["Status"] == "unhealthy"
    ketchd.docker("start", name)
    assert state(ketchd, name)["Health"]["Status"] in ("starting", "unhealthy")
    assert state(ketchd, name)["Health"]["FailingStreak"] <= 2


def test_images_checks_flags_and_none(ketchd: Ketchd, name: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {IMAGE}\n"
        'SHELL ["/bin/sh", "-ec"]\n'
        "HEALTHCHECK --interval=100ms --retries=7 CMD false; echo not reached\n"
    )
    ketchd.docker("build", "-qt", "probed", str(tmp_path))
    ketchd.docker("run", "-d", "--name", name, "--health-retries", "1", "probed", "sleep", "1000")
    check = json.loads(ketchd.out("inspect", "-f", "{{json .Config.Healthcheck}}", name))
    assert check == {
        "Test": ["CMD-SHELL", "false; echo not reached"],
        "Interval": 100_000_000,
        "Retries": 1,
    }
    health = becomes(ketchd, name, "unhealthy")
    assert health["Log"][0]["Output"] == ""
    ketchd.docker("rm", "-f", name)
    ketchd.docker("run", "-d", "--name", name, "--no-healthcheck", "probed", "sleep", "1000")
    assert "Health" not in state(ketchd, name)
    assert ketchd.out("inspect", "-f", "{{.Config.Healthcheck.Test}}", name) == "[NONE]"


def test_probing_survives_the_daemon(ketchd: Ketchd, name: str) -> None:
    ketchd.docker(
        "run", "-d", "--name", name, "--health-cmd", "test -f /ok", *FAST,
        IMAGE, "sh", "-c", "touch /ok; exec sleep 1000",
    )  # fmt: skip
    becomes(ketchd, name, "healthy")
    ketchd.stop(signal.SIGKILL)
    ketchd.start()
    assert state(ketchd, name)["Health"]["Status"] == "healthy"
    inside(ketchd, name, "rm", "/ok")
    becomes(ketchd, name, "unhealthy")


def test_a_probe_in_flight_dies_with_the_daemon(ketchd: Ketchd, name: str) -> None:
    ketchd.docker(
        "run", "-d", "--name", name, "--health-cmd", "sleep 4322", "--health-interval", "100ms",
        IMAGE, "sleep", "1000",
    )  # fmt: skip
    wait_for(lambda: "4322" in ketchd.out("top", name), "no probe")
    pids = [line.split()[1] for line in ketchd.out("top", name).splitlines() if "4322" in line]
    ketchd.stop(signal.SIGKILL)
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "the probe lives on")
    ketchd.start()


@pytest.mark.parametrize("program", ["docker", "ketch"])
def test_http_without_a_program_of_the_image(ketchd: Ketchd, name: str, program: str) -> None:
    asked = {
        "docker": ("--label", "ketch.health.http=8080/index.html"),
        "ketch": ("--health-http", "http://127.0.0.1:8080/index.html"),
    }[program]
    words = ("run", "-d", "--name", name, *asked, *FAST, IMAGE, *HTTPD)
    ketchd.docker(*words) if program == "docker" else ketch(ketchd, *words)
    health = becomes(ketchd, name, "healthy")
    assert health["Log"][-1]["Output"] == "HTTP/1.1 200 OK\nfine\n"
    inside(ketchd, name, "rm", "/w/index.html")
    health = becomes(ketchd, name, "unhealthy")
    assert "404" in health["Log"][-1]["Output"]


def test_http_status_and_refused_connection(ketchd: Ketchd, name: str) -> None:
    ketch(
        ketchd, "run", "-d", "--name", name, "--health-http", "8080/missing",
        "--health-status", "404", *FAST, IMAGE, *HTTPD,
    )  # fmt: skip
    becomes(ketchd, name, "healthy")
    ketchd.docker("rm", "-f", name)
    ketch(
        ketchd, "run", "-d", "--name", name, "--health-http", "9999", *FAST, IMAGE, "sleep", "1000"
    )
    health = becomes(ketchd, name, "unhealthy")
    assert "127.0.0.1:9999: connection refused" in health["Log"][-1]["Output"]


def test_tcp_and_a_server_that_never_answers(ketchd: Ketchd, name: str) -> None:
    ketch(
        ketchd, "run", "-d", "--name", name, "--health-tcp", "7000", *FAST,
        IMAGE, "nc", "-ll", "-p", "7000", "-e", "sleep", "1000",
    )  # fmt: skip
    becomes(ketchd, name, "healthy")
    ketchd.docker("rm", "-f", name)
    ketch(
        ketchd, "run", "-d", "--name", name, "--health-http", "7000/", "--health-timeout", "300ms",
        *FAST, IMAGE, "nc", "-ll", "-p", "7000", "-e", "sleep", "1000",
    )  # fmt: skip
    health = becomes(ketchd, name, "unhealthy")
    assert health["Log"][-1]["Output"] == "Health check exceeded timeout (300ms)"


def test_labels_of_an_image_do_nothing(ketchd: Ketchd, name: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {IMAGE}\nLABEL ketch.health.tcp=1 ketch.health.on-failure=kill\n"
    )
    ketchd.docker("build", "-qt", "reserved", str(tmp_path))
    ketchd.docker("run", "-d", "--name", name, "reserved", "sleep", "1000")
    assert "Health" not in state(ketchd, name)
    assert "Healthcheck" not in json.loads(ketchd.out("inspect", "-f", "{{json .Config}}", name))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--label", "ketch.health.http=0/x"), "invalid port"),
        (("--label", "ketch.health.http=https://127.0.0.1/"), "https are not supported"),
        (("--label", "ketch.health.http=http://example.com/"), "an IP address or localhost"),
        (("--label", "ketch.health.tcp=x"), "invalid port"),
        (("--label", "ketch.health.status=200"), "needs ketch.health.http"),
        (("--label", "ketch.health.tcp=1", "--label", "ketch.health.http=1"), "conflicting"),
        (("--label", "ketch.health.tcp=1", "--health-cmd", "true"), "conflicting"),
        (("--label", "ketch.health.wrong=1"), "unknown label ketch.health.wrong"),
        (("--label", "ketch.health.on-failure=restart"), "needs a health check"),
        (("--label", "ketch.health.on-failure=boom", "--health-cmd", "true"), "use one of"),
        (("--health-cmd", "true", "--health-interval", "1us"), "cannot be less than 1ms"),
    ],
)
def test_nonsense_is_refused(ketchd: Ketchd, words: tuple[str, ...], message: str) -> None:
    done = ketchd.docker("create", *words, IMAGE, "true", code=1)
    assert message in done.stderr.decode()


def test_unhealthy_is_restarted(ketchd: Ketchd, name: str) -> None:
    """The writable layer keeps ``/again``, by which the second run is a healthy one."""
    ketchd.docker(
        "run", "-d", "--name", name, "--health-cmd", "test -f /again",
        "--label", "ketch.health.on-failure=restart", "--stop-timeout", "0", *FAST,
        IMAGE, "sh", "-c", "[ -f /seen ] && touch /again; touch /seen; exec sleep 1000",
    )  # fmt: skip
    becomes(ketchd, name, "healthy")
    assert ketchd.out("inspect", "-f", "{{.RestartCount}}", name) == "1"


def test_unhealthy_is_stopped_for_good(ketchd: Ketchd, name: str) -> None:
    ketch(
        ketchd, "run", "-d", "--name", name, "--restart", "always", "--health-cmd", "false",
        "--health-on-failure", "stop", "--stop-timeout", "0", *FAST, IMAGE, "sleep", "1000",
    )  # fmt: skip
    assert ketchd.out("wait", name) == "137"
    wait_for(lambda: state(ketchd, name)["Status"] == "exited", "it does not stay stopped")


def test_unhealthy_is_killed_and_its_policy_decides(ketchd: Ketchd, name: str) -> None:
    ketch(
        ketchd, "run", "-d", "--name", name, "--restart", "on-failure:1", "--health-cmd", "false",
        "--health-on-failure", "kill", *FAST, IMAGE, "sleep", "1000",
    )  # fmt: skip
    wait_for(lambda: state(ketchd, name)["Status"] == "exited", "it is not killed")
    assert ketchd.out("inspect", "-f", "{{.RestartCount}}", name) == "1"
    assert out(ketchd, "inspect", "--format", "{{.State.ExitCode}}", name) == "137"


def test_a_paused_container_is_not_probed(ketchd: Ketchd, name: str) -> None:
    ketchd.docker(
        "run", "-d", "--name", name, "--health-cmd", "true", *FAST, IMAGE, "sleep", "1000"
    )
    becomes(ketchd, name, "healthy")
    ketchd.docker("pause", name)
    before = state(ketchd, name)["Health"]["Log"][-1]
    with pytest.raises(AssertionError, match="not probed"):
        wait_for(
            lambda: state(ketchd, name)["Health"]["Log"][-1] != before, "not probed", timeout=1
        )
    ketchd.docker("unpause", name)
    wait_for(lambda: state(ketchd, name)["Health"]["Log"][-1] != before, "no more probes")


def test_who_stops_it_outranks_its_health(ketchd: Ketchd, name: str) -> None:
    """It ignores SIGTERM, so it is unhealthy for a while after somebody wanted it to end."""
    ketch(
        ketchd, "run", "-d", "--name", name, "--health-cmd", "test ! -f /bad",
        "--health-on-failure", "restart", *FAST, IMAGE, "sh", "-c", "trap '' TERM; sleep 1000",
    )  # fmt: skip
    becomes(ketchd, name, "healthy")
    stopping = ketchd.popen("stop", "-t", "3", name)
    wait_for(
        lambda: "kill" in ketchd.out(
            "events", "--since", "1m", "--until", f"{time.time():.9f}", "--filter",
            f"container={name}", "--format", "{{.Action}}",
        ).split(),
        "it was not signalled",
    )  # fmt: skip
    inside(ketchd, name, "touch", "/bad")
    becomes(ketchd, name, "unhealthy")
    assert stopping.wait(20) == 0
    assert state(ketchd, name)["Status"] == "exited"
    assert ketchd.out("inspect", "-f", "{{.RestartCount}}", name) == "0"


ENDLESS = "printf 'HTTP/1.1 200 OK\\r\\n\\r\\n'; yes"


@pytest.mark.parametrize(
    ("server", "status", "said"),
    [("yes", "unhealthy", "no HTTP answer: y"), (ENDLESS, "healthy", "HTTP/1.1 200 OK\ny\n")],
)
def test_a_server_that_never_stops_sending(
    ketchd: Ketchd, name: str, server: str, status: str, said: str
) -> None:
    script = f'echo "{server}" > /s; chmod +x /s; exec nc -ll -p 80 -e sh /s'
    ketch(
        ketchd, "run", "-d", "--name", name, "--health-http", "80", *FAST,
        IMAGE, "sh", "-c", script,
    )  # fmt: skip
    log = becomes(ketchd, name, status)["Log"]
    assert log[-1]["Output"].startswith(said)
    assert len(log[-1]["Output"]) <= 4200
