"""Names and namespaces of ``docker run``: hosts, links, DNS, namespaces that are shared or not."""

from __future__ import annotations

import json
import os

import pytest

from e2e.ketchd_process import Ketchd, run

pytestmark = pytest.mark.root


def test_hosts_and_resolver(ketchd: Ketchd) -> None:
    words = (
        "--hostname", "here", "--domainname", "example.org", "--dns", "192.0.2.1", "--dns",
        "192.0.2.2", "--dns-search", "a.example", "--dns-option", "ndots:3",
        "--add-host", "one:192.0.2.7", "--add-host", "six=2001:db8::1",
        "--add-host", "gate:host-gateway",
    )  # fmt: skip
    names = "hostname; cat /etc/hostname /proc/sys/kernel/domainname /etc/hosts"
    script = f"{names} /etc/resolv.conf; ip r"
    out = run(ketchd, *words, "busybox", "sh", "-c", script).splitlines()
    assert out[:3] == ["here", "here", "example.org"]
    assert "192.0.2.7\tone" in out
    assert "2001:db8::1\tsix" in out
    gateway = next(line.split()[2] for line in out if line.startswith("default via"))
    assert f"{gateway}\tgate" in out
    assert any(line.endswith("\there.example.org here") for line in out)
    assert out[-6:-2] == [
        "nameserver 192.0.2.1", "nameserver 192.0.2.2", "search a.example", "options ndots:3",
    ]  # fmt: skip


@pytest.mark.parametrize("host", ["nonsense", "a:not-an-address"])
def test_malformed_hosts(ketchd: Ketchd, host: str) -> None:
    run(ketchd, "--add-host", host, "busybox", "true", code=125)


def test_links(ketchd: Ketchd, name: str) -> None:
    child = f"{name}-child"
    ketchd.docker(
        "run", "-d", "--name", child, "--hostname", "kid", "--expose", "5432", "-e", "A=b",
        "busybox", "sleep", "600",
    )  # fmt: skip
    address = "{{.NetworkSettings.IPAddress}}"
    ketchd.docker(
        "run", "-d", "--name", name, "--link", f"{child}:db", "-e", "DB_ENV_A=mine", "busybox",
        "sh", "-c", "env; exec sleep 600",
    )  # fmt: skip
    try:
        line = f"{ketchd.out('inspect', '-f', address, child)}\tdb kid {child}"
        assert line in ketchd.out("exec", name, "cat", "/etc/hosts").splitlines()
        url = f"tcp://{ketchd.out('inspect', '-f', address, child)}:5432"
        for told in (ketchd.out("logs", name), ketchd.out("exec", name, "env")):
            variables = dict(entry.split("=", 1) for entry in told.splitlines())
            assert variables["DB_PORT"] == variables["DB_PORT_5432_TCP"] == url
            assert variables["DB_NAME"] == f"/{name}/db"
            assert variables["DB_ENV_A"] == "mine"
        links = json.loads(ketchd.out("inspect", "-f", "{{json .HostConfig.Links}}", name))
        assert links == [f"/{child}:/{name}/db"]
        names = ketchd.out("ps", "--no-trunc", "--format", "{{.Names}}", "-f", f"name=^{child}$")
        assert set(names.split(",")) == {child, f"{name}/db"}
        assert ketchd.out("inspect", "-f", "{{.Name}}", f"{name}/db") == f"/{child}"
        ketchd.docker("rename", child, f"{child}2")
        assert ketchd.out("inspect", "-f", "{{.HostConfig.Links}}", name) == (
            f"[/{child}2:/{name}/db]"
        )
        ketchd.docker("rename", f"{child}2", child)
        ketchd.docker("stop", "-t", "0", child)
        blocker = ketchd.out("run", "-d", "busybox", "sleep", "600")  # takes the address, perhaps
        ketchd.docker("start", child)
        line = f"{ketchd.out('inspect', '-f', address, child)}\tdb kid {child}"
        hosts = ketchd.out("exec", name, "cat", "/etc/hosts").splitlines()
        assert [found for found in hosts if "\tdb " in found] == [line]
        ketchd.docker("rm", "-f", blocker)
        ketchd.docker("rm", "--link", f"/{name}/db")
        assert "\tdb " not in ketchd.out("exec", name, "cat", "/etc/hosts")
        assert ketchd.out("inspect", "-f", "{{.HostConfig.Links}}", name) == "[]"
    finally:
        ketchd.docker("rm", "-f", child)


def test_a_link_needs_a_running_container(ketchd: Ketchd, name: str) -> None:
    child = f"{name}-child"
    ketchd.docker("create", "--name", child, "busybox")
    try:
        done = ketchd.docker("run", "--name", name, "--link", child, "busybox", "true", code=125)
        text = f"Cannot link to a non running container: /{child} AS /{name}/{child}"
        assert text in done.stderr.decode()
    finally:
        ketchd.docker("rm", child)
    assert "could not get container" in run(ketchd, "--link", "nobody:x", "busybox", code=125)
    out = run(ketchd, "--link", "x", "--network", "host", "busybox", code=125)
    assert "host type networking can't be used with links" in out
    assert ketchd.out("inspect", "-f", "{{.HostConfig.Links}}", name) == "[]"
    ketchd.docker("start", name)  # what it was linked to is gone, and the link with it
    done = ketchd.docker("rm", "--link", name, code=1)
    assert "cannot remove the default link name" in done.stderr.decode()
    done = ketchd.docker("rm", "--link", "nobody", code=1)
    assert "No such container: nobody" in done.stderr.decode()


KINDS = ("pid", "ipc", "uts", "net", "cgroup", "mnt", "time", "user")


def namespaces(ketchd: Ketchd, *words: str) -> dict[str, bool]:
    """Whether each namespace is the host's."""
    script = f"cd /proc/self/ns; for i in {' '.join(KINDS)}; do readlink $i; done"
    found = run(ketchd, *words, "busybox", "sh", "-c", script).split()
    return {
        kind: os.readlink(f"/proc/self/ns/{kind}") == link
        for kind, link in zip(KINDS, found, strict=True)
    }


@pytest.mark.parametrize(
    ("words", "shared"),
    [
        ((), set()),
        (("--pid", "host"), {"pid"}),
        (("--ipc", "host"), {"ipc"}),
        (("--uts", "host"), {"uts"}),
        (("--network", "host"), {"net"}),
        (("--cgroupns", "host"), {"cgroup"}),
        (("--cgroupns", "private", "--userns", "host", "--ipc", "private"), set()),
    ],
)
def test_namespaces_of_the_host(ketchd: Ketchd, words: tuple[str, ...], shared: set[str]) -> None:
    found = namespaces(ketchd, *words)
    assert {kind for kind, same in found.items() if same} == shared | {"user"}


def test_namespaces_of_another_container(ketchd: Ketchd, name: str) -> None:
    words = ("--ipc", "shareable", "--shm-size", "3m", "busybox", "sleep", "600")
    ketchd.docker("run", "-d", "--name", name, *words)
    pid = ketchd.out("inspect", "-f", "{{.State.Pid}}", name)
    script = "cd /proc/self/ns; for i in pid ipc net uts; do readlink $i; done; df -k /dev/shm"
    joined = (f"--{kind}=container:{name}" for kind in ("pid", "ipc", "network"))
    out = run(ketchd, *joined, "busybox", "sh", "-c", script).splitlines()
    expected = [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("pid", "ipc", "net", "uts")]
    assert out[:3] == expected[:3]
    assert out[3] != expected[3]
    assert out[-1].split()[1] == "3072"  # the same file system
    script = "echo shared > /dev/shm/file"
    run(ketchd, f"--ipc=container:{name}", "busybox", "sh", "-c", script)
    assert ketchd.out("exec", name, "cat", "/dev/shm/file") == "shared"


def test_ipc_modes(ketchd: Ketchd, name: str) -> None:
    out = run(ketchd, "--ipc", "none", "busybox", "grep", "-c", "/dev/shm", "/proc/mounts", code=1)
    assert out == "0"
    ketchd.docker("run", "-d", "--name", name, "busybox", "sleep", "600")
    out = run(ketchd, "--ipc", f"container:{name}", "busybox", "true", code=125)
    assert "non-shareable IPC" in out
    assert "invalid IPC mode" in run(ketchd, "--ipc", "bogus", "busybox", "true", code=125)


def test_namespaces_of_containers_that_are_not_there(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("create", "--name", name, "busybox")
    for kind in ("pid", "network"):
        out = run(ketchd, f"--{kind}=container:{name}", "busybox", "true", code=125)
        assert "non running container" in out or "is not running" in out


def test_hostname_conflicts(ketchd: Ketchd) -> None:
    out = run(ketchd, "--uts", "host", "--hostname", "x", "busybox", "true", code=125)
    assert "conflicting options: hostname and the UTS mode" in out


def test_addresses_of_the_link_layer(ketchd: Ketchd) -> None:
    out = run(ketchd, "--mac-address", "02:42:ac:11:00:09", "busybox", "cat",
              "/sys/class/net/eth0/address")  # fmt: skip
    assert out == "02:42:ac:11:00:09"
    run(ketchd, "--mac-address", "01:00:00:00:00:00", "busybox", "true", code=125)


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("net.core.somaxconn", "321", "/proc/sys/net/core/somaxconn"),
        ("net.ipv4.conf.eth0.forwarding", "1", "/proc/sys/net/ipv4/conf/eth0/forwarding"),
        ("kernel.msgmax", "9000", "/proc/sys/kernel/msgmax"),
        ("kernel.sem", "1 2 3 4", "/proc/sys/kernel/sem"),
        ("fs.mqueue.msg_max", "20", "/proc/sys/fs/mqueue/msg_max"),
    ],
)
def test_sysctls(ketchd: Ketchd, name: str, value: str, path: str) -> None:
    out = run(ketchd, "--sysctl", f"{name}={value}", "busybox", "cat", path)
    assert out.split() == value.split()


def test_a_sysctl_that_the_kernel_has_not(ketchd: Ketchd) -> None:
    out = run(ketchd, "--sysctl", "net.bogus=1", "busybox", "true", code=127)
    assert "net.bogus" in out
