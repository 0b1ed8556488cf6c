"""Networks and published ports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from e2e.ketchd_process import Ketchd, parent_of, wait_for
from free_networks import free_octet, free_port

pytestmark = pytest.mark.root

ANSWER = "while :; do echo -e 'hello from inside' | nc -l -p 80; done"
HELLO = b"hello from inside\n"


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


def test_the_name_of_the_default_bridge_is_found_where_docker_has_it(ketchd: Ketchd) -> None:
    form = '{{index .Options "com.docker.network.bridge.name"}}'
    assert ketchd.out("network", "inspect", "bridge", "-f", form) == ketchd.bridge


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
        ketchd.docker("kill", name)
        form = "{{range .NetworkSettings.Networks}}{{.NetworkID}}{{end}}"
        assert ketchd.out("inspect", "-f", form, name) == document["Id"]
        assert ketchd.out("ps", "-a", "--filter", f"network={document['Id']}", "-q")
        ketchd.docker("rm", "-f", name)
    finally:
        ketchd.docker("network", "rm", network)
    assert network not in ketchd.out("network", "ls", "--format", "{{.Name}}").split("\n")
    assert {"bridge", "host", "none"} <= set(
        ketchd.out("network", "ls", "--format", "{{.Name}}").split("\n")
    )
    done = ketchd.docker("network", "rm", "bridge", code=1)
    assert b"bridge" in done.stderr
    done = ketchd.docker("network", "create", "default", code=1)
    assert b"operation is not permitted on predefined default network" in done.stderr
    assert ketchd.out("network", "inspect", "host", "-f", "{{json .IPAM.Config}}") == "null"


def test_addresses_and_ports_of_a_users_network(ketchd: Ketchd, name: str) -> None:
    network, prefix = f"{name}-r", f"10.{free_octet('10')}.7"
    option = "com.docker.network.bridge."
    ketchd.docker(
        "network", "create", "--subnet", f"{prefix}.0/24", "--ip-range", f"{prefix}.128/25",
        "--aux-address", f"a={prefix}.129", "-o", f"{option}host_binding_ipv4=127.0.0.1",
        "-o", f"{option}enable_icc=true", "-o", f"{option}enable_ip_masquerade=false", network,
    )  # fmt: skip
    try:
        document = json.loads(ketchd.out("network", "inspect", network))[0]
        assert document["IPAM"]["Config"] == [{
            "Subnet": f"{prefix}.0/24", "IPRange": f"{prefix}.128/25", "Gateway": f"{prefix}.128",
            "AuxiliaryAddresses": {"a": f"{prefix}.129"},
        }]  # fmt: skip
        ketchd.stop(signal.SIGTERM)
        ketchd.start()  # the same addresses are left alone by the next daemon
        ketchd.docker(
            "run", "-d", "--name", name, "--network", network, "-p", "80", "-p", "0.0.0.0::81",
            "busybox", "sleep", "600",
        )  # fmt: skip
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        assert ketchd.out("inspect", "-f", form, name) == f"{prefix}.130"
        published = ketchd.out("port", name).splitlines()
        assert [line.rpartition(":")[0] for line in published] == [
            "80/tcp -> 127.0.0.1", "81/tcp -> 0.0.0.0",
        ]  # fmt: skip
        ketchd.docker("rm", "-f", name)
    finally:
        ketchd.docker("network", "rm", network)
    for words, message in (
        (("--subnet", f"{prefix}.1/24"), f"it should be {prefix}.0/24"),
        (("--subnet", "x"), "invalid CIDR block notation"),
    ):
        done = ketchd.docker("network", "create", *words, network, code=1)
        assert message in done.stderr.decode()


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


def test_published_on_ipv6_as_well(ketchd: Ketchd, name: str) -> None:
    port = free_port()
    ketchd.docker("run", "-d", "--name", name, "-p", f"{port}:80", "busybox", "sh", "-c", ANSWER)
    assert ketchd.out("port", name, "80").split("\n") == [f"0.0.0.0:{port}", f"[::]:{port}"]
    shown = ketchd.out("ps", "--format", "{{.Ports}}", "--filter", f"name={name}")
    assert shown == f"0.0.0.0:{port}->80/tcp, [::]:{port}->80/tcp"
    document = json.loads(ketchd.out("inspect", name))[0]
    both = [{"HostIp": address, "HostPort": str(port)} for address in ("0.0.0.0", "::")]
    assert document["NetworkSettings"]["Ports"] == {"80/tcp": both}
    assert document["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": str(port)}]
    }
    for address in ("127.0.0.1", "::1"):
        wait_for(lambda a=address: fetch(a, port) == HELLO, f"{address}: no answer")  # type: ignore[misc]
    for asked in ("::", "::1"):
        publish = f"[{asked}]:{port}:81"
        done = ketchd.docker("run", "--rm", "-p", publish, "busybox", "true", code=125)
        assert f"Bind for {asked}:{port} failed: port is already allocated" in done.stderr.decode()
    ketchd.docker("restart", "-t", "0", name)
    wait_for(lambda: fetch("::1", port) == HELLO, "no answer after a restart")
    ketchd.docker("rm", "-f", name)
    assert fetch("::1", port) == b""
    ketchd.docker("run", "--rm", "-p", f"[::]:{port}:81", "busybox", "true")


def test_published_on_one_address(ketchd: Ketchd, name: str) -> None:
    port = free_port()
    command = ("busybox", "sh", "-c", ANSWER)
    ketchd.docker("run", "-d", "--name", name, "-p", f"[::1]:{port}:80", *command)
    assert ketchd.out("port", name) == f"80/tcp -> [::1]:{port}"
    wait_for(lambda: fetch("::1", port) == HELLO, "no answer")
    assert fetch("127.0.0.1", port) == b""
    ketchd.docker("run", "-d", "--name", f"{name}-4", "-p", f"127.0.0.1:{port}:80", *command)
    assert ketchd.out("port", f"{name}-4") == f"80/tcp -> 127.0.0.1:{port}"
    ketchd.docker("rm", "-f", name, f"{name}-4")
    done = ketchd.docker("run", "--rm", "-p", "[fd99::7]:80:80", "busybox", "true", code=125)
    assert b"failed to bind host port for fd99::7:80:" in done.stderr
    assert b":80/tcp: cannot assign requested address" in done.stderr
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        wanted = f"[::1]:{other.getsockname()[1]}:80"
        done = ketchd.docker("run", "--rm", "-p", wanted, "busybox", "true", code=125)
    assert b":80/tcp: address already in use" in done.stderr


def test_ipv6_ports_outlive_the_daemon(ketchd: Ketchd, name: str) -> None:
    """The container's supervisor holds them; the next daemon knows them, and takes them back."""
    first, second = free_port(), free_port()
    publish = ("-p", f"{first}:80", "-p", f"[::1]:{second}:80")
    ketchd.docker("run", "-d", "--name", name, *publish, "busybox", "sh", "-c", ANSWER)
    wait_for(lambda: fetch("::1", second) == HELLO, "no answer")
    ketchd.stop(signal.SIGKILL)
    wait_for(lambda: fetch("::1", first) == HELLO, "no answer without a daemon")
    ketchd.start()
    wait_for(lambda: fetch("::1", second) == HELLO, "no answer after it came back")
    for port in (first, second):
        wanted = f"[::1]:{port}:81"
        done = ketchd.docker("run", "--rm", "-p", wanted, "busybox", "true", code=125)
        assert b"port is already allocated" in done.stderr
    pid = ketchd.out("inspect", "-f", "{{.State.Pid}}", name)
    ketchd.stop(signal.SIGKILL)
    os.kill(parent_of(pid), signal.SIGKILL)
    ketchd.start()
    wait_for(lambda: fetch("::1", first) == b"", "the port of a dead container is held")
    ketchd.docker("run", "--rm", "-p", f"{first}:81", "-p", f"[::1]:{second}:81", "busybox", "true")
