"""``inspect`` shows what was asked for, member by member: docker-py and Compose compare."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from e2e.ketch_program import ketch
from e2e.ketchd_process import Ketchd
from e2e.test_e2e_behaviours import Api

pytestmark = pytest.mark.root


@pytest.fixture
def api(ketchd: Ketchd) -> Api:
    return Api(ketchd)


HOST: dict[str, Any] = {
    "Memory": 64 << 20, "MemorySwap": 96 << 20, "MemoryReservation": 32 << 20,
    "MemorySwappiness": 10, "OomKillDisable": True, "OomScoreAdj": 300, "PidsLimit": 33,
    "CpuShares": 77, "CpuPeriod": 50000, "CpuQuota": 20000, "CpusetCpus": "0", "CpusetMems": "0",
    "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
    "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x",
                 "CgroupPermissions": "rw"}],
    "DeviceCgroupRules": ["c 1:3 rw"],
    "DeviceRequests": [{"Driver": "", "Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]],
                        "Options": {}}],
    "Binds": ["/tmp:/t:ro,rslave"], "Tmpfs": {"/u": "size=1m,mode=700"}, "VolumeDriver": "local",
    "ContainerIDFile": "/tmp/id", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1",
                                                               "HostPort": "0"}]},
    "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 4}, "ConsoleSize": [20, 90],
    "Annotations": {"a": "b"}, "CapAdd": ["NET_ADMIN"], "CapDrop": ["MKNOD"],
    "CgroupnsMode": "host", "Dns": ["192.0.2.1"], "DnsOptions": ["ndots:2"],
    "DnsSearch": ["example.org"], "ExtraHosts": ["a:192.0.2.2"], "GroupAdd": ["44"],
    "IpcMode": "shareable", "PidMode": "host", "UTSMode": "", "UsernsMode": "host",
    "Privileged": False, "PublishAllPorts": True, "ReadonlyRootfs": True,
    "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"], "ShmSize": 1 << 20,
    "Sysctls": {"net.core.somaxconn": "100"}, "Isolation": "default", "Init": False,
    "MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": ["/proc/sys"], "CgroupParent": "/ketch-x",
    "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}, "AutoRemove": False,
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "Hostname": "here", "Domainname": "example.org", "User": "guest:44", "AttachStdin": True,
    "AttachStdout": True, "AttachStderr": True, "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
    "Tty": True, "OpenStdin": True, "StdinOnce": True, "Cmd": ["a", "b"], "Entrypoint": ["sh"],
    "Volumes": {"/anonymous": {}}, "WorkingDir": "/w", "Labels": {"k": "v"}, "StopSignal": "HUP",
    "StopTimeout": 4, "Shell": ["/bin/sh"], "Image": "busybox", "NetworkDisabled": True,
    "Healthcheck": {"Test": ["CMD", "x"], "Interval": 2 * 10**9, "Timeout": 10**9, "Retries": 2,
                    "StartPeriod": 10**9, "StartInterval": 10**9},
}  # fmt: skip


def test_everything_comes_back(api: Api, name: str) -> None:
    api.create(name, **CONFIG, Env=["A=1"], HostConfig=HOST)
    found = api("GET", f"/containers/{name}/json")[1]
    assert {key: found["HostConfig"][key] for key in HOST} == HOST
    assert {key: found["Config"][key] for key in CONFIG} == CONFIG
    assert found["Config"]["Env"][0] == "A=1"


def test_what_cannot_be_combined_above(api: Api, name: str) -> None:
    host = {
        "NanoCpus": 10**9, "NetworkMode": "host", "UTSMode": "host", "PidsLimit": 0,
        "Init": True, "IpcMode": "none", "CgroupnsMode": "private",
        "Mounts": [
            {"Type": "bind", "Source": "/tmp", "Target": "/m", "ReadOnly": True,
             "Consistency": "cached",
             "BindOptions": {"Propagation": "rprivate", "ReadOnlyForceRecursive": True}},
            {"Type": "volume", "Source": name, "Target": "/v",
             "VolumeOptions": {"NoCopy": True, "Labels": {"a": "b"}, "Subpath": "x",
                               "DriverConfig": {"Name": "local"}}},
            {"Type": "tmpfs", "Target": "/t",
             "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700,
                              "Options": [["exec"], ["uid", "5"]]}},
            {"Type": "image", "Source": "busybox", "Target": "/i",
             "ImageOptions": {"Subpath": "bin"}},
        ],
    }  # fmt: skip
    api.create(name, HostConfig=host)
    found = api("GET", f"/containers/{name}/json")[1]["HostConfig"]
    assert {key: found[key] for key in host if key != "PidsLimit"} == {
        key: value for key, value in host.items() if key != "PidsLimit"
    }
    assert found["PidsLimit"] is None  # as with Docker: not positive is no limit
    api("DELETE", f"/containers/{name}")
    api("DELETE", f"/volumes/{name}")


def test_a_network_that_is_disabled(api: Api, ketchd: Ketchd, name: str) -> None:
    api.create(name, NetworkDisabled=True, Cmd=["sh", "-c", "ls /sys/class/net; ip r"])
    assert ketchd.out("start", "-a", name).split() == ["lo"]


def test_kernel_memory_is_discarded_aloud(api: Api, name: str) -> None:
    body = {"Image": "busybox", "HostConfig": {"KernelMemory": 50 << 20}}
    status, found = api("POST", f"/containers/create?name={name}", body)
    assert status == 201
    assert "deprecated" in found["Warnings"][0]
    change = {"KernelMemory": 60 << 20, "CpuShares": 512}
    status, found = api("POST", f"/containers/{name}/update", change)
    assert (status, len(found["Warnings"])) == (200, 1), found
    assert "deprecated" in found["Warnings"][0]
    host = api("GET", f"/containers/{name}/json")[1]["HostConfig"]
    assert (host.get("KernelMemory", 0), host["CpuShares"]) == (0, 512)


@pytest.mark.parametrize(
    "host",
    [
        {"Cgroup": "x"}, {"CpuCount": 2}, {"CpuPercent": 50}, {"IOMaximumIOps": 5},
        {"IOMaximumBandwidth": 5}, {"StorageOpt": {"size": "1g"}}, {"StorageOpt": {"bogus": "1"}},
        {"UsernsMode": "auto"}, {"Mounts": [{"Type": "npipe", "Source": "x", "Target": "/x"}]},
        {"Mounts": [{"Type": "cluster", "Source": "x", "Target": "/x"}]},
    ],
)  # fmt: skip
def test_what_is_not_honoured_is_refused_by_name(api: Api, host: dict[str, Any]) -> None:
    status, found = api("POST", "/containers/create", {"Image": "busybox", "HostConfig": host})
    assert status == 400, found
    assert found["message"]


def test_no_option_of_a_served_operation_is_a_fault_of_the_server(api: Api) -> None:
    image = {"Image": "busybox"}
    for path, body in (
        ("/containers/create", image | {"HostConfig": {"SecurityOpt": ["apparmor=x"]}}),
        ("/containers/create", image | {"HostConfig": {"SecurityOpt": ["label=type:x"]}}),
        ("/containers/create", image | {"HostConfig": {"VolumeDriver": "x", "Binds": ["vv:/x"]}}),
        ("/volumes/create", {"Driver": "nowhere"}),
        ("/networks/create", {"Name": "n1", "Driver": "macvlan"}),
    ):
        status, found = api("POST", path, body)
        assert status == 400, (path, body, found)


def test_exposed_ports_in_anothers_network(api: Api, ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "busybox", "sleep", "600")
    host = {"HostConfig": {"NetworkMode": f"container:{name}"}}
    body = {"Image": "busybox", "ExposedPorts": {"80/tcp": {}}, **host}
    status, found = api("POST", "/containers/create", body)
    assert (status, found["message"]) == (
        400, "conflicting options: port exposing and the container type network mode",
    )  # fmt: skip


def test_exec_takes_a_list_of_words(api: Api, ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "busybox", "sleep", "600")
    assert api("POST", f"/containers/{name}/exec", {"Cmd": "true"})[0] == 400


def test_ketch_links_where_there_are_none(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "busybox", "sleep", "600")
    for mode, word in ((f"container:{name}", "container type network"), ("host", "host type")):
        refused = ketch(
            ketchd, "run", "--network", mode, "--link", name, "busybox", "true", code=125
        ).stderr.decode()
        assert f"conflicting options: {word}" in refused


def test_updates_of_what_a_process_has_from_its_start(api: Api, name: str) -> None:
    api.create(name)
    for change in (
        {"Devices": [{"PathOnHost": "/dev/null"}]}, {"Ulimits": [{"Name": "core"}]},
        {"DeviceCgroupRules": ["c 1:3 rw"]}, {"CgroupParent": "/x"},
        {"DeviceRequests": [{"Count": 1}]},
    ):  # fmt: skip
        status, found = api("POST", f"/containers/{name}/update", change)
        assert status == 400
        assert next(iter(change)) in found["message"]
    assert Path("/dev/null").exists()


def test_small_things_that_docker_does(ketchd: Ketchd, api: Api, name: str) -> None:
    words = ("--network", "host", "--tmpfs", "/t", "--mount", "type=tmpfs,dst=/u")
    ketchd.docker("create", "--name", name, *words, "busybox", "ls", "/.dockerenv")
    found = api("GET", f"/containers/{name}/json")[1]
    assert found["Config"]["Hostname"] == os.uname().nodename
    assert [point["Destination"] for point in found["Mounts"]] == ["/u"]
    assert ketchd.out("start", "-a", name) == "/.dockerenv"
    assert ".dockerenv" not in ketchd.out("diff", name)
