"""Events through the docker CLI: order and attributes, filters, and what a killed daemon keeps."""

from __future__ import annotations

import calendar
import json
import os
import signal
import subprocess
import time
from typing import Any
from urllib.parse import urlencode

import pytest

from e2e.ketchd_process import Ketchd, docker_path, wait_for
from e2e.unix_http import UnixConnection

pytestmark = pytest.mark.root


def events(ketchd: Ketchd, since: float, *filters: str) -> list[dict[str, Any]]:
    words = [word for filter in filters for word in ("--filter", filter)]
    text = ketchd.out(
        "events", "--since", f"{since:.6f}", "--until", f"{time.time():.6f}", "--format",
        "{{json .}}", *words,
    )  # fmt: skip
    return [json.loads(line) for line in text.splitlines()]


def actions(found: list[dict[str, Any]]) -> list[str]:
    return [f"{event['Type']} {event['Action']}" for event in found]


def wait_for_event(ketchd: Ketchd, since: float, action: str, *filters: str) -> None:
    wait_for(lambda: action in actions(events(ketchd, since, *filters)), f"{action} was never told")


def test_the_life_of_a_container(ketchd: Ketchd, name: str) -> None:
    since = time.time()
    ketchd.docker(
        "run", "--rm", "--name", name, "--label", "team=a", "-v", f"{name}:/data", "busybox",
        "sh", "-c", "exit 3", code=3,
    )  # fmt: skip
    wait_for_event(ketchd, since, "container destroy")
    found = events(ketchd, since)
    assert actions(found) == [
        "volume create", "container create", "container attach", "network connect",
        "volume mount", "container start", "network disconnect", "volume unmount",
        "container die", "container destroy",
    ]  # fmt: skip
    die = found[-2]["Actor"]
    assert die["Attributes"] == {
        "execDuration": "0", "exitCode": "3", "image": "busybox", "name": name, "team": "a",
    }  # fmt: skip
    mount = next(event for event in found if event["Action"] == "mount")["Actor"]
    assert mount == {
        "ID": name,
        "Attributes": {
            "container": die["ID"], "destination": "/data", "driver": "local",
            "propagation": "", "read/write": "true",
        },
    }  # fmt: skip
    times = [event["timeNano"] for event in found]
    assert times == sorted(set(times))
    ketchd.docker("volume", "rm", name)


def test_stop_restart_and_exec(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--init", "--name", name, "busybox", "sleep", "600")
    since = time.time()
    ketchd.docker("exec", name, "true")
    ketchd.docker("stop", name)
    found = events(ketchd, since, f"container={name}", "type=container")
    assert [event["Action"] for event in found] == [
        "exec_create: true ", "exec_start: true ", "exec_die", "kill", "stop", "die",
    ]  # fmt: skip
    assert found[2]["Actor"]["Attributes"]["exitCode"] == "0"
    assert found[0]["Actor"]["Attributes"]["execID"] == found[2]["Actor"]["Attributes"]["execID"]
    assert found[3]["Actor"]["Attributes"]["signal"] == "15"
    since = time.time()
    ketchd.docker("start", name)
    ketchd.docker("restart", "-t", "9", name)
    ketchd.docker("rename", name, f"{name}-2")
    ketchd.docker("rename", f"{name}-2", name)
    found = events(ketchd, since, f"container={name}", "type=container")
    assert [event["Action"] for event in found] == [
        "start", "kill", "stop", "die", "start", "restart", "rename", "rename",
    ]  # fmt: skip
    assert found[-2]["Actor"]["Attributes"]["oldName"] == f"/{name}"


def test_who_is_killed_was_not_stopped(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "busybox", "sleep", "600")
    since = time.time()
    ketchd.docker("kill", name)
    ketchd.docker("start", name)
    ketchd.docker("rm", "-f", name)
    found = events(ketchd, since, f"container={name}", "type=container")
    assert [event["Action"] for event in found] == [
        "kill", "die", "start", "kill", "die", "destroy",
    ]  # fmt: skip


def test_filters(ketchd: Ketchd, name: str) -> None:
    since = time.time()
    ketchd.docker("run", "-d", "--name", name, "--label", "team=b", "busybox", "sleep", "600")
    ketchd.docker("exec", name, "true")
    for words, expected in (
        (("event=exec_create",), ["container exec_create: true "]),
        (("event=exec_create: true",), ["container exec_create: true "]),
        (("event=exec_create: false",), []),
        (("event=start", "event=create"), ["container create", "container start"]),
        (("type=network",), ["network connect"]),
        (("network=bridge", "type=network"), ["network connect"]),
        (("label=team=b", "event=start"), ["container start"]),
        (("label=team=a",), []),
        (("image=busybox", "event=start"), ["container start"]),
        (("image=busybox:latest", "event=start"), []),
        (("daemon=x",), []),
        (("plugin=x",), []),
        (("scope=swarm",), []),
        (("scope=local", "event=start"), ["container start"]),
    ):
        assert actions(events(ketchd, since, *words)) == expected, words


def test_bad_times(ketchd: Ketchd) -> None:
    done = ketchd.docker("events", "--since", "2", "--until", "1", code=1)
    assert "`since` time cannot be after `until` time" in done.stderr.decode()


def test_a_killed_daemon_forgets_nothing(ketchd: Ketchd, name: str) -> None:
    since = time.time()
    ketchd.docker("run", "-d", "--name", name, "busybox", "sleep", "600")
    pid = int(ketchd.out("inspect", "-f", "{{.State.Pid}}", name))
    ketchd.docker("rename", name, f"{name}-x")
    ketchd.docker("rename", f"{name}-x", name)
    ketchd.stop(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    ketchd.start()
    wait_for_event(ketchd, since, "container die", f"container={name}")
    found = actions(events(ketchd, since, f"container={name}", "type=container"))
    assert found == [
        "container create", "container start", "container rename", "container rename",
        "container die",
    ]  # fmt: skip


def test_a_stream_that_begins_in_the_past_goes_on(ketchd: Ketchd, name: str) -> None:
    since = time.time()
    ketchd.docker("create", "--name", name, "busybox", "true")
    stream = subprocess.Popen(
        [docker_path() or "docker", "events", "--since", f"{since:.6f}", "--filter",
         f"container={name}", "--format", "{{.Action}}"],
        env=ketchd.env(),
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert stream.stdout is not None
        assert stream.stdout.readline() == b"create\n"
        ketchd.docker("start", name)
        assert [stream.stdout.readline() for _ in range(2)] == [b"start\n", b"die\n"]
    finally:
        stream.kill()
        stream.wait()
        if stream.stdout is not None:
            stream.stdout.close()


def test_events_of_images_carry_their_labels(ketchd: Ketchd, name: str) -> None:
    since = time.time()
    ketchd.docker("create", "--name", name, "busybox")
    ketchd.docker("commit", "-c", "LABEL team=a", name, f"{name}:1")
    ketchd.docker("tag", f"{name}:1", f"{name}:2")
    ketchd.docker("rmi", f"{name}:1", f"{name}:2")
    found = events(ketchd, since, "label=team=a")
    assert actions(found) == [
        "image create", "image tag", "image tag", "image untag", "image untag", "image delete",
    ]  # fmt: skip
    names = [event["Actor"]["Attributes"]["name"] for event in found[1:3]]
    assert names == [f"{name}:1", f"{name}:2"]
    commit = events(ketchd, since, "event=commit")[-1]["Actor"]["Attributes"]
    assert commit["imageRef"] == f"{name}:1"


def test_prunes_are_told_with_what_they_gave_back(ketchd: Ketchd) -> None:
    label = f"label=nobody-has-{os.getpid()}"
    ketchd.docker("image", "prune", "-f", "--filter", label)  # what others left is gone with it
    since = time.time()
    for kind in ("container", "volume", "network", "image"):
        ketchd.docker(kind, "prune", "-f", "--filter", label)
    ketchd.docker("builder", "prune", "-f", "--filter", "id=nothing")
    found = events(ketchd, since, "event=prune")
    assert actions(found) == [
        "container prune", "volume prune", "network prune", "image prune", "builder prune",
    ]  # fmt: skip
    assert all(each["Actor"] == {"ID": "", "Attributes": {"reclaimed": "0"}} for each in found)


def test_who_hears_that_a_container_died_may_look_at_it(ketchd: Ketchd, name: str) -> None:
    """docker compose (2.40, ``up --watch``) crashes when it is gone by then."""
    following = UnixConnection(str(ketchd.socket))
    identity = ketchd.out("create", "--name", name, "busybox", "true")
    since = time.time()
    filters = {"container": [identity], "event": ["die"]}
    following.request("GET", "/events?" + urlencode({"filters": json.dumps(filters)}))
    with following.getresponse() as stream:
        asking = UnixConnection(str(ketchd.socket))
        asking.request("POST", f"/containers/{identity}/start")
        with asking.getresponse() as response:
            assert response.status == 204
        assert json.loads(stream.readline())["Action"] == "die"
        asking.request("GET", f"/containers/{identity}/json")
        with asking.getresponse() as response:
            ended = json.load(response)["State"]["FinishedAt"]
        asking.request("DELETE", f"/containers/{identity}")
        with asking.getresponse() as response:
            assert response.status == 204
    (gone,) = events(ketchd, since, f"container={identity}", "event=destroy")
    whole, _, fraction = ended.removesuffix("Z").partition(".")
    second = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))
    died = second * 10**9 + int(fraction.ljust(9, "0"))
    assert gone["timeNano"] - died >= 45_000_000  # of 50: timers are as exact as milliseconds
