"""docker-py: volumes, networks, the engine itself, and what ketch says it does not do."""

from __future__ import annotations

import docker
import pytest
from docker.types import IPAMConfig, IPAMPool

from e2e.ketchd_process import Ketchd

pytestmark = pytest.mark.root


def test_from_env(ketchd: Ketchd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{ketchd.socket}")
    client = docker.from_env()
    assert client.ping()
    assert client.version()["ApiVersion"] == "1.51"
    assert client.containers.run("busybox", "echo hello", remove=True) == b"hello\n"
    assert any("busybox:latest" in image.tags for image in client.images.list())
    client.close()


def test_volumes(api: docker.APIClient, name: str) -> None:
    made = api.create_volume(name, driver="local", labels={"of": name})
    assert made["Name"] == name
    assert made["Driver"] == "local"
    assert api.inspect_volume(name)["Mountpoint"] == made["Mountpoint"]
    listed = api.volumes(filters={"label": f"of={name}"})["Volumes"]
    assert [volume["Name"] for volume in listed] == [name]
    assert not api.volumes(filters={"name": "no-such"})["Volumes"]
    host = api.create_host_config(binds=[f"{name}:/v"])
    user = api.create_container("busybox", "sh -c 'echo x >/v/x'", host_config=host)["Id"]
    with pytest.raises(docker.errors.APIError) as caught:
        api.remove_volume(name)
    assert caught.value.status_code == 409
    api.start(user)
    api.wait(user)
    usage = {v["Name"]: v["UsageData"] for v in api.df()["Volumes"]}[name]
    assert usage["RefCount"] == 1
    assert usage["Size"] > 0
    api.remove_container(user)
    api.remove_volume(name)
    with pytest.raises(docker.errors.NotFound):
        api.inspect_volume(name)
    with pytest.raises(docker.errors.APIError):
        api.create_volume("x", driver="no-such-driver")


def test_volumes_pruned(api: docker.APIClient, name: str) -> None:
    api.create_volume(name, labels={name: ""})
    pruned = api.prune_volumes(filters={"label": name, "all": True})
    assert pruned["VolumesDeleted"] == [name]


def test_networks(api: docker.APIClient, name: str) -> None:
    pool = IPAMPool(subnet="10.197.77.0/28", gateway="10.197.77.1")
    ipam = IPAMConfig(pool_configs=[pool])
    made = api.create_network(name, driver="bridge", ipam=ipam, labels={"of": name})["Id"]
    found = api.inspect_network(name)
    assert found["Id"] == made
    assert found["IPAM"]["Config"] == [{"Subnet": "10.197.77.0/28", "Gateway": "10.197.77.1"}]
    assert [n["Name"] for n in api.networks(filters={"label": f"of={name}"})] == [name]
    assert [n["Id"] for n in api.networks(ids=[made])] == [made]
    host = api.create_host_config(network_mode=name)
    member = api.create_container("busybox", "sleep 600", host_config=host, name=name)["Id"]
    api.start(member)
    address = api.inspect_container(member)["NetworkSettings"]["Networks"][name]["IPAddress"]
    assert address.startswith("10.197.77.")
    assert member in api.inspect_network(name)["Containers"]
    with pytest.raises(docker.errors.APIError) as caught:
        api.remove_network(name)
    assert caught.value.status_code == 403
    with pytest.raises(docker.errors.APIError) as caught:
        api.create_network(name)
    assert caught.value.status_code == 409
    api.remove_container(member, force=True)
    api.remove_network(name)
    with pytest.raises(docker.errors.NotFound):
        api.inspect_network(made)


def test_networks_pruned(api: docker.APIClient, name: str) -> None:
    api.create_network(name, labels={name: ""})
    assert api.prune_networks(filters={"label": name})["NetworksDeleted"] == [name]


def test_engine(api: docker.APIClient) -> None:
    assert api.ping()
    info = api.info()
    assert info["OSType"] == "linux"
    assert info["Driver"]
    assert info["Swarm"]["LocalNodeState"] == "inactive"
    assert set(api.df()) >= {"LayersSize", "Images", "Containers", "Volumes", "BuildCache"}
    assert api.version()["Os"] == "linux"
    with pytest.raises(docker.errors.APIError):
        api.login("user", "password", registry="127.0.0.1:9")


def test_not_part_of_a_swarm(api: docker.APIClient) -> None:
    for call in (api.services, api.nodes, api.tasks, api.secrets, api.configs, api.inspect_swarm):
        with pytest.raises(docker.errors.APIError) as caught:
            call()
        assert caught.value.status_code == 503
        assert "This node is not a swarm manager" in caught.value.explanation
    with pytest.raises(docker.errors.APIError) as caught:
        api.init_swarm("127.0.0.1")
    assert caught.value.status_code == 501
    assert api.plugins() == []
    with pytest.raises(docker.errors.NotFound):
        api.inspect_plugin("x")


@pytest.mark.parametrize(
    "version", ["1.25", "1.35", "1.40", "1.41", "1.43", "1.44", "1.47", "1.51"]
)
def test_older_versions(ketchd: Ketchd, version: str, name: str) -> None:
    client = docker.DockerClient(base_url=f"unix://{ketchd.socket}", version=version)
    container = client.containers.run("busybox", "sleep 600", detach=True, name=name)
    assert container.exec_run("echo x") == (0, b"x\n")
    assert container.stats(stream=False)["read"]
    assert client.images.get("busybox").tags == ["busybox:latest"]
    assert client.df()["Images"]
    container.remove(force=True)
    client.close()
