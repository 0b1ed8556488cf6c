"""docker-py's APIClient: containers, from create to remove."""

from __future__ import annotations

import io
import signal
import tarfile
from pathlib import Path

import docker
import pytest
import requests
from docker.types import Healthcheck, LogConfig, Mount, Ulimit

from e2e.dockerpy_client import started
from e2e.ketchd_process import wait_for

pytestmark = pytest.mark.root


def logs_of(api: docker.APIClient, identity: str) -> bytes:
    assert api.wait(identity)["StatusCode"] == 0
    return bytes(api.logs(identity))


def test_version_is_negotiated(api: docker.APIClient) -> None:
    assert api.api_version == "1.51" or tuple(map(int, api.api_version.split("."))) >= (1, 44)
    assert api.version()["ApiVersion"] == "1.51"


def test_create_with_everything(api: docker.APIClient, name: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("from the host")
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    host = api.create_host_config(
        binds={str(tmp_path): {"bind": "/bound", "mode": "ro"}},
        mounts=[Mount("/anon", None), Mount("/tmpfs", "", type="tmpfs")],
        mem_limit="64m",
        memswap_limit="128m",
        cpu_shares=512,
        cpu_period=100_000,
        cpu_quota=50_000,
        pids_limit=50,
        cap_add=["NET_ADMIN"],
        cap_drop=["CHOWN"],
        dns=["192.0.2.1"],
        dns_search=["example.org"],
        extra_hosts={"there": "192.0.2.2"},
        ulimits=[Ulimit(name="nofile", soft=100, hard=200)],
        log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": "1m"}),
        tmpfs={"/more": "size=1m"},
        shm_size="16m",
        group_add=["5"],
        sysctls={"net.ipv4.ip_unprivileged_port_start": "0"},
        read_only=True,
        oom_score_adj=100,
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
        security_opt=["no-new-privileges"],
        init=True,
    )
    check = (
        "cat /bound/a; ulimit -n; grep -c 192.0.2.1 /etc/resolv.conf; grep there /etc/hosts; "
        "touch /x 2>/dev/null || echo read-only; ls -d /anon /tmpfs; "
        "touch /tmpfs/x /more/x; df -m /dev/shm; "
        "cat /proc/self/oom_score_adj; id -G; echo $GREETING; hostname; pwd"
    )
    identity = api.create_container(
        "busybox",
        ["sh", "-c", check],
        name=name,
        hostname="box",
        user="guest",
        working_dir="/tmp",
        environment={"GREETING": "hello there"},
        labels={"k": "v"},
        volumes=["/bound"],
        stop_signal="SIGUSR1",
        healthcheck=Healthcheck(test=["NONE"]),
        host_config=host,
    )["Id"]
    api.start(identity)
    output = logs_of(api, identity).decode()
    for words in ("from the host", "100", "192.0.2.2", "read-only", "hello there", "box", "/tmp"):
        assert words in output
    found = api.inspect_container(identity)
    assert found["HostConfig"]["Memory"] == 64 << 20
    assert found["Config"]["Labels"] == {"k": "v"}
    assert found["HostConfig"]["Ulimits"] == [{"Name": "nofile", "Soft": 100, "Hard": 200}]
    api.remove_container(identity, v=True)


def test_create_from_config(api: docker.APIClient, name: str) -> None:
    config = api.create_container_config("busybox", "echo from config")
    identity = api.create_container_from_config(config, name)["Id"]
    api.start(identity)
    assert logs_of(api, identity) == b"from config\n"


def test_life(api: docker.APIClient, name: str) -> None:
    identity = started(
        api, name, "sh -c 'trap \"exit 7\" TERM; echo up; while :; do sleep 0.1; done'"
    )

    def ups(count: int) -> None:
        wait_for(lambda: api.logs(name).count(b"up") == count, "it did not come up")

    ups(1)
    state = api.inspect_container(name)["State"]
    assert state["Running"]
    assert state["Pid"] > 0
    api.pause(name)
    assert api.inspect_container(name)["State"]["Paused"]
    with pytest.raises(docker.errors.APIError) as caught:
        api.exec_create(name, "true")
    assert caught.value.status_code == 409
    api.unpause(name)
    api.restart(name, timeout=5)
    ups(2)
    assert api.inspect_container(name)["State"]["Pid"] != state["Pid"]
    api.stop(name, timeout=5)
    assert api.wait(name)["StatusCode"] == 7
    api.start(name)
    api.kill(name, signal.SIGKILL)
    assert api.wait(name)["StatusCode"] == 137
    api.start(name)
    ups(4)
    api.kill(name, "SIGTERM")
    assert api.wait(name)["StatusCode"] == 7
    api.rename(name, f"{name}-2")
    assert api.inspect_container(f"{name}-2")["Id"] == identity
    api.remove_container(f"{name}-2")
    with pytest.raises(docker.errors.NotFound):
        api.inspect_container(identity)


def test_lists(api: docker.APIClient, name: str) -> None:
    identity = started(api, name, labels={"of": name})
    row = next(row for row in api.containers(filters={"label": f"of={name}"}))
    assert row["Id"] == identity
    assert row["Names"] == [f"/{name}"]
    assert row["State"] == "running"
    assert api.containers(quiet=True, filters={"name": name}) == [{"Id": identity}]
    assert api.containers(filters={"status": "exited", "name": name}) == []
    sized = api.containers(size=True, filters={"name": name})
    assert sized[0]["SizeRootFs"] > 0
    assert api.containers(limit=1)[0]["Id"] == identity
    api.kill(name)
    assert api.containers(filters={"name": name}) == []
    assert api.containers(all=True, filters={"name": name, "exited": 137})[0]["Id"] == identity


def test_waiting(api: docker.APIClient, name: str) -> None:
    started(api, name)
    with pytest.raises((requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError)):
        api.wait(name, timeout=0.3)
    api.kill(name)
    assert api.wait(name, condition="not-running")["StatusCode"] == 137
    with pytest.raises(docker.errors.APIError) as caught:
        api.wait(name, condition="bogus")
    assert caught.value.status_code == 400


def test_ports(api: docker.APIClient, name: str) -> None:
    host = api.create_host_config(port_bindings={80: ("127.0.0.1", None), "81/udp": None})
    started(api, name, ports=[80, (81, "udp")], host_config=host)
    found = api.port(name, 80)
    assert found[0]["HostIp"] == "127.0.0.1"
    assert int(found[0]["HostPort"]) > 0
    assert api.port(name, "81/udp")
    assert api.port(name, 9999) is None
    row = api.containers(filters={"name": name})[0]
    assert {port["PrivatePort"] for port in row["Ports"]} == {80, 81}


def test_update_top_stats_diff(api: docker.APIClient, name: str) -> None:
    started(api, name, "sh -c 'echo x >/made; sleep 600'")
    assert api.update_container(name, mem_limit="80m", memswap_limit="90m") is not None
    assert api.inspect_container(name)["HostConfig"]["Memory"] == 80 << 20
    table = api.top(name)
    assert table["Titles"][:2] == ["UID", "PID"]
    assert any("sleep 600" in " ".join(row) for row in table["Processes"])
    assert "PID" in api.top(name, "-o pid,args")["Titles"]
    one = api.stats(name, stream=False, one_shot=True)
    assert one["memory_stats"]["limit"] == 80 << 20
    both = api.stats(name, stream=False)
    assert both["precpu_stats"]["cpu_usage"]["total_usage"] <= both["cpu_stats"]["cpu_usage"]["total_usage"]  # fmt: skip # noqa: E501
    stream = api.stats(name, decode=True)
    first, second = next(stream), next(stream)
    assert first["id"] == second["id"]
    assert second["precpu_stats"]["system_cpu_usage"] == first["cpu_stats"]["system_cpu_usage"]
    stream.close()
    wait_for(lambda: {"Path": "/made", "Kind": 1} in (api.diff(name) or []), "no /made in the diff")


def test_archives(api: docker.APIClient, name: str) -> None:
    started(api, name)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("deep/file")
        info.size, info.mode, info.uid = 5, 0o640, 1000
        tar.addfile(info, io.BytesIO(b"hello"))
    assert api.put_archive(name, "/tmp", out.getvalue())
    chunks, stat = api.get_archive(name, "/tmp/deep/file", chunk_size=None, encode_stream=True)
    assert (stat["name"], stat["size"]) == ("file", 5)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        member = tar.getmembers()[0]
        assert (member.name, member.mode, member.uid) == ("file", 0o640, 1000)
        reader = tar.extractfile(member)
        assert reader is not None
        assert reader.read() == b"hello"
    with pytest.raises(docker.errors.NotFound):
        api.get_archive(name, "/nope")
    with pytest.raises(docker.errors.APIError):
        api.put_archive(name, "/etc/passwd", out.getvalue())


def test_export_and_commit(api: docker.APIClient, name: str) -> None:
    started(api, name, "sh -c 'echo kept >/kept; sleep 600'")
    wait_for(lambda: api.diff(name), "nothing was written")
    with tarfile.open(fileobj=io.BytesIO(b"".join(api.export(name)))) as tar:
        assert "kept" in tar.getnames()
    made = api.commit(
        name, f"{name}-image", "v1", message="why", author="who", changes="ENV X=1", pause=True
    )["Id"]
    try:
        found = api.inspect_image(made)
        assert (found["Comment"], found["Author"]) == ("why", "who")
        assert "X=1" in found["Config"]["Env"]
        second = api.create_container(f"{name}-image:v1", "cat /kept")["Id"]
        api.start(second)
        assert logs_of(api, second) == b"kept\n"
        api.remove_container(second)
    finally:
        api.remove_image(f"{name}-image:v1", force=True)


def test_removal_rules(api: docker.APIClient, name: str) -> None:
    started(api, name, volumes=["/data"])
    volume = api.inspect_container(name)["Mounts"][0]["Name"]
    with pytest.raises(docker.errors.APIError) as caught:
        api.remove_container(name)
    assert caught.value.status_code == 409
    api.remove_container(name, force=True, v=True)
    with pytest.raises(docker.errors.NotFound):
        api.inspect_volume(volume)


def test_prune(api: docker.APIClient, name: str) -> None:
    identity = api.create_container("busybox", "true", name=name, labels={name: ""})["Id"]
    pruned = api.prune_containers(filters={"label": name})
    assert pruned["ContainersDeleted"] == [identity]


def test_health(api: docker.APIClient, name: str) -> None:
    second = 1_000_000_000
    check = Healthcheck(
        test="test -e /tmp/well", interval=second // 5, timeout=second, retries=2, start_period=0
    )
    started(api, name, healthcheck=check)

    def is_(word: str) -> bool:
        return bool(api.inspect_container(name)["State"]["Health"]["Status"] == word)

    wait_for(lambda: is_("unhealthy"), "it did not become unhealthy")
    assert api.exec_start(api.exec_create(name, "touch /tmp/well")["Id"]) == b""
    wait_for(lambda: is_("healthy"), "it did not become healthy")
    health = api.inspect_container(name)["State"]["Health"]
    assert health["FailingStreak"] == 0
    assert health["Log"][-1]["ExitCode"] == 0
    assert api.containers(filters={"health": "healthy", "name": name})
