"""Networks and published ports."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

from e2e.ketchd_process import Ketchd, wait_for

pytestmark = pytest.mark.root

ANSWER = "while :; do echo -e 'hello from inside' | nc -l -p 80; done"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(address: str, port: int) -> bytes:
    try:
        with socket.create_connection((address, port), timeout=2) as sock:
            sock.shutdown(socket.SHUT_WR)
            return sock.recv(64)
    except OSError:
        return b""


def test_address_gateway_and_resolver(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "busybox", "sleep", "600")
    document = json.loads(ketchd.out("inspect", name))[0]["NetworkSettings"]
    address, gateway = document["IPAddress"], document["Gateway"]
    assert address.rpartition(".")[0] == gateway.rpartition(".")[0]
    assert document["Networks"]["bridge"]["IPAddress"] == address
    ketchd.docker("exec", name, "ping", "-c", "1", "-W", "2", gateway)
    assert address in ketchd.out("exec", name, "cat", "/etc/hosts")
    assert ketchd.out("exec", name, "cat", "/etc/resolv.conf")


def test_two_containers_reach_each_other(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "busybox", "sh", "-c", ANSWER)
    address = ketchd.out("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name)
    command = f"nc {address} 80 < /dev/null"

    def answers() -> bool:
        done = ketchd.docker("run", "--rm", "busybox", "sh", "-c", command, code=None)
        return done.stdout == b"hello from inside\n"

    wait_for(answers, "the other container does not answer")


def test_published_port(ketchd: Ketchd, name: str) -> None:
    port = free_port()
    ketchd.docker("run", "-d", "--name", name, "-p", f"{port}:80", "busybox", "sh", "-c", ANSWER)
    assert ketchd.out("port", name, "80/tcp").split("\n")[0] == f"0.0.0.0:{port}"
    assert f"0.0.0.0:{port}->80/tcp" in ketchd.out("ps", "--filter", f"name={name}")
    wait_for(lambda: fetch("127.0.0.1", port) == b"hello from inside\n", "localhost: no answer")
    done = ketchd.docker("run", "--rm", "-p", f"{port}:81", "busybox", "true", code=125)
    assert b"port is already allocated" in done.stderr
    ketchd.docker("rm", "-f", name)
    assert fetch("127.0.0.1", port) == b""


def test_any_port(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "-p", "127.0.0.1::80", "busybox", "sh", "-c", ANSWER)
    host, _, port = ketchd.out("port", name, "80/tcp").partition(":")
    assert host == "127.0.0.1"
    wait_for(lambda: fetch(host, int(port)) == b"hello from inside\n", "no answer")


def test_networks(ketchd: Ketchd, name: str) -> None:
    network = f"{name}-n"
    assert len(ketchd.out("network", "create", "--label", "k=v", network)) == 64
    try:
        done = ketchd.docker("network", "create", network, code=1)
        assert b"already exists" in done.stderr
        document = json.loads(ketchd.out("network", "inspect", network))[0]
        assert document["Labels"] == {"k": "v"}
        assert document["IPAM"]["Config"][0]["Subnet"]
        ketchd.docker("run", "-d", "--name", name, "--network", network, "busybox", "sleep", "600")
        inside = json.loads(ketchd.out("network", "inspect", network))[0]["Containers"]
        assert [member["Name"] for member in inside.values()] == [name]
        done = ketchd.docker("network", "rm", network, code=1)
        assert b"has active endpoints" in done.stderr
        ketchd.docker("rm", "-f", name)
    finally:
        ketchd.docker("network", "rm", network)
    assert network not in ketchd.out("network", "ls", "--format", "{{.Name}}").split("\n")
    assert {"bridge", "host", "none"} <= set(
        ketchd.out("network", "ls", "--format", "{{.Name}}").split("\n")
    )
    done = ketchd.docker("network", "rm", "bridge", code=1)
    assert b"bridge" in done.stderr


def test_unknown_network(ketchd: Ketchd, name: str) -> None:
    done = ketchd.docker("run", "--name", name, "--network", "nonet", "busybox", "true", code=125)
    assert b"network nonet not found" in done.stderr


def test_shared_namespace(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "busybox", "sleep", "600")
    own = ketchd.out("exec", name, "ip", "-o", "-4", "addr", "show", "eth0")
    joined = ketchd.out(
        "run", "--rm", "--network", f"container:{name}", "busybox", "ip", "-o", "-4", "addr",
        "show", "eth0",
    )  # fmt: skip
    assert joined.split()[3] == own.split()[3]


def test_address_is_given_back(ketchd: Ketchd) -> None:
    """More runs than the pool has addresses left would fail if one leaked."""
    before = Path(f"/sys/class/net/{ketchd.bridge}/brif")
    for _ in range(5):
        ketchd.docker("run", "--rm", "busybox", "true")
    wait_for(lambda: len(list(before.iterdir())) <= 8, "links are left on the bridge")
    subprocess.run(["ip", "link", "show", ketchd.bridge], check=True, capture_output=True)
