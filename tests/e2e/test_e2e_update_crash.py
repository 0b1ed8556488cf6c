"""The daemon is killed while containers are changed: what was acknowledged is true afterwards."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time

import pytest

from e2e.conftest import IMAGE
from e2e.ketch_program import KETCH
from e2e.ketchd_process import Ketchd, wait_for
from e2e.test_e2e_update import SERVE, free_port, said

pytestmark = pytest.mark.root
KILLS = 4


class Changes(threading.Thread):
    """Changes the published ports and a variable, again and again until a request fails."""

    def __init__(self, daemon: Ketchd, name: str, ports: list[int], have: set[int], n: int) -> None:
        super().__init__()
        self._env = {**os.environ, "KETCH_HOST": f"unix://{daemon.socket}"}
        self._name, self._ports = name, ports
        self.have, self.wanted = have, have
        self.n = self.next = n

    def run(self) -> None:
        while self._change():
            self.have, self.n = self.wanted, self.next

    def _change(self) -> bool:
        self.wanted = set(random.sample(self._ports, random.randint(1, len(self._ports))))
        self.next = self.n + 1
        words = [KETCH, "update", "-e", f"N={self.next}"]
        for port in self.wanted - self.have:
            words += ["-p", f"{port}:80"]
        for port in self.have - self.wanted:
            words += ["--publish-rm", f"{port}:80"]
        done = subprocess.run([*words, self._name], env=self._env, capture_output=True, check=False)
        return done.returncode == 0


def test_ports_and_record_agree_after_every_kill(ketchd: Ketchd, name: str) -> None:
    ports = [free_port() for _ in range(3)]
    ketchd.docker("run", "-d", "--name", name, "-e", "N=0", "-p", f"{ports[0]}:80", IMAGE, *SERVE)
    wait_for(lambda: said(ports[0]) == "eighty", "the server does not answer")
    have, n = {ports[0]}, 0
    for _ in range(KILLS):
        changes = Changes(ketchd, name, ports, have, n)
        changes.start()
        time.sleep(random.uniform(0.1, 0.6))  # a random instant, not a wait for something
        ketchd.stop(signal.SIGKILL)
        changes.join()
        ketchd.start()
        found = json.loads(ketchd.out("inspect", name))[0]
        live = found["NetworkSettings"]["Ports"]["80/tcp"] or []
        asked = found["HostConfig"]["PortBindings"].get("80/tcp") or []
        have = {int(binding["HostPort"]) for binding in live}
        assert have == {int(binding["HostPort"]) for binding in asked}
        assert have == {port for port in ports if said(port) == "eighty"}
        assert have in (changes.have, changes.wanted)
        env = found.get("Ketch", {"NextStart": found["Config"]})["NextStart"]["Env"]
        n = next(int(entry[2:]) for entry in env if entry.startswith("N="))
        assert n in (changes.n, changes.next)
