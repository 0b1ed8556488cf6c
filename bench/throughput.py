"""Many containers: runs side by side, and the list of a thousand."""

from __future__ import annotations

import http.client
import json
import socket
import statistics
import subprocess
import time

from bench.engines import Docker, Engine, Ketch
from bench.latency import RUN
from bench.timing import Row, paired

MANY = 40
AT_ONCE = 8
STORM = 100
LISTED = 1000
LIST_WITHIN = 0.1  # seconds


def steady(docker: Docker, ketch: Ketch, rounds: int) -> Row:
    """Containers a second, 40 runs, 8 at a time."""
    return _rates(docker, ketch, MANY, AT_ONCE, rounds, 0.12)


def storm(docker: Docker, ketch: Ketch, rounds: int) -> Row:
    """Containers a second, 100 runs at once."""
    return _rates(docker, ketch, STORM, STORM, rounds, 0.2)


def _rates(
    docker: Docker, ketch: Ketch, count: int, at_once: int, rounds: int, limit: float
) -> Row:
    """Of bursts in turn; the ratio is docker / ketch. A single burst varies by a tenth."""
    times = paired(
        lambda: _burst(docker, count, at_once), lambda: _burst(ketch, count, at_once), rounds
    )
    what = f"{count} run --rm, {at_once} at a time (docker / ketch)"
    return Row(what, count / times[0], count / times[1], times[2], limit, "/s")


def _burst(engine: Engine, count: int, at_once: int) -> float:
    started = time.perf_counter()
    running: list[subprocess.Popen[bytes]] = []
    left = count
    while left or running:
        while left and len(running) < at_once:
            running.append(
                subprocess.Popen(
                    ["docker", *RUN],
                    env=engine.environment(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                )
            )
            left -= 1
        done = running.pop(0)
        _, errors = done.communicate()
        if done.returncode:
            raise RuntimeError(f"run on {engine.name}: {errors.decode()}")
    return time.perf_counter() - started


class _Api(http.client.HTTPConnection):
    """The Engine API over a unix socket."""

    def __init__(self, engine: Engine) -> None:
        super().__init__("localhost")
        self._path = str(engine.socket)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)

    def call(self, method: str, path: str, body: object = None) -> bytes:
        """The answer's body; raises RuntimeError for an error."""
        data = json.dumps(body) if body is not None else None
        self.request(method, path, data, {"Content-Type": "application/json"})
        answer = self.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {content.decode()}")
        return content


def listing(ketch: Ketch, rounds: int) -> Row:
    """The list of 1,000 containers by the API; the first column is what is allowed."""
    api = _Api(ketch)
    wanted = {"Image": "busybox", "Cmd": ["true"]}
    made = [json.loads(api.call("POST", "/containers/create", wanted))["Id"] for _ in range(LISTED)]
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        found = json.loads(api.call("GET", "/containers/json?all=1"))
        taken.append(time.perf_counter() - started)
        if len(found) < LISTED:
            raise RuntimeError(f"{len(found)} of {LISTED} containers are listed")
    for identity in made:
        api.call("DELETE", f"/containers/{identity}")
    api.close()
    median = statistics.median(taken)
    what = "list of 1,000 containers (allowed, ketch)"
    return Row(what, LIST_WITHIN, median, median / LIST_WITHIN, 1.0, "s")
