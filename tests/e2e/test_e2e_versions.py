"""API versions 1.24 to 1.51: the same engine, each version by its own rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.contract_world import World
from e2e.ketchd_process import Ketchd

pytestmark = pytest.mark.root

VERSIONS = [f"1.{minor}" for minor in range(24, 52)]


@pytest.fixture(scope="module")
def worlds(ketchd: Ketchd) -> Iterator[dict[str, World]]:
    made = {version: World(ketchd, version) for version in VERSIONS}
    yield made
    made["1.51"].clear()


@pytest.fixture(scope="module")
def running(worlds: dict[str, World]) -> str:
    """On a network that a user made, with everything that versions show differently."""
    world = worlds["1.51"]
    network = world.network()
    return world.running(
        HostConfig={"NetworkMode": network, "Annotations": {"org.example": "1"}},
        NetworkingConfig={"EndpointsConfig": {network: {"Aliases": ["web"]}}},
    )


def shown_in(worlds: dict[str, World], look: Any) -> list[str]:
    """The versions in which ``look(world)`` is true."""
    return [version for version, world in worlds.items() if look(world)]


def since(minor: int) -> list[str]:
    return [version for version in VERSIONS if int(version[2:]) >= minor]


def before(minor: int) -> list[str]:
    return [version for version in VERSIONS if int(version[2:]) < minor]


def test_container_inspect(worlds: dict[str, World], running: str) -> None:
    found = {v: w.must("GET", f"/containers/{running}/json") for v, w in worlds.items()}
    joined = {
        v: next(iter(doc["NetworkSettings"]["Networks"].values())) for v, doc in found.items()
    }
    short = found["1.51"]["Id"][:12]
    assert [v for v in VERSIONS if short in joined[v]["Aliases"]] == before(45)
    assert [v for v in VERSIONS if "DNSNames" in joined[v]] == since(44)
    assert [v for v in VERSIONS if "GwPriority" in joined[v]] == since(48)
    assert [v for v in VERSIONS if "Annotations" in found[v]["HostConfig"]] == since(43)
    assert [v for v in VERSIONS if "KernelMemory" in found[v]["HostConfig"]] == before(42)
    for document in found.values():
        assert document["HostConfig"]["IpcMode"] == "private"
        flat = document["NetworkSettings"]
        assert {"Bridge", "HairpinMode", "IPAddress", "MacAddress", "EndpointID"} <= set(flat)


def test_container_list(worlds: dict[str, World], running: str) -> None:
    def annotated(world: World) -> bool:
        rows = world.must("GET", f'/containers/json?filters={{"name":["{running}"]}}')
        return "Annotations" in rows[0]["HostConfig"]

    assert shown_in(worlds, annotated) == since(46)


def test_images(worlds: dict[str, World], running: str) -> None:
    rows = {v: w.must("GET", "/images/json")[0] for v, w in worlds.items()}
    assert [v for v in VERSIONS if "VirtualSize" in rows[v]] == before(44)
    assert [v for v in VERSIONS if rows[v]["Containers"] == -1] == before(51)
    found = {v: w.must("GET", "/images/busybox/json") for v, w in worlds.items()}
    assert [v for v in VERSIONS if "VirtualSize" in found[v]] == before(44)
    assert [v for v in VERSIONS if "ContainerConfig" in found[v]] == before(45)
    assert [v for v in VERSIONS if "Hostname" in found[v]["Config"]] == before(50)
    assert [v for v in VERSIONS if "Image" in found[v]["Config"]] == before(50)


def test_an_older_filter_of_images(worlds: dict[str, World]) -> None:
    def ignored(world: World) -> bool:
        return bool(world.must("GET", "/images/json?filter=none-such"))

    assert shown_in(worlds, ignored) == since(41)


def test_platform_of_an_image(worlds: dict[str, World]) -> None:
    query = 'platform={"os":"linux","architecture":"none"}'

    def refused(path: str) -> list[str]:
        return shown_in(worlds, lambda world: world.ask("GET", f"{path}?{query}").status == 404)

    assert refused("/images/busybox/json") == since(49)
    assert refused("/images/busybox/history") == since(48)


def test_info(worlds: dict[str, World]) -> None:
    found = {v: w.must("GET", "/info") for v, w in worlds.items()}
    assert [v for v in VERSIONS if "BridgeNfIptables" in found[v]] == before(50)
    assert [v for v in VERSIONS if "FirewallBackend" in found[v]] == since(49)
    assert [v for v in VERSIONS if "Expected" in found[v]["RuncCommit"]] == before(49)
    assert [v for v in VERSIONS if "CDISpecDirs" in found[v]] == since(44)
    plain = [v for v in VERSIONS if "seccomp" in found[v]["SecurityOptions"]]
    assert plain == before(25)
    registry = "AllowNondistributableArtifactsCIDRs"
    assert [v for v in VERSIONS if registry in found[v]["RegistryConfig"]] == before(49)


def test_disk_usage(worlds: dict[str, World], running: str) -> None:
    found = {v: w.must("GET", "/system/df?type=image") for v, w in worlds.items()}
    assert [v for v in VERSIONS if found[v]["Volumes"] is not None] == before(42)
    assert [v for v in VERSIONS if "BuilderSize" in found[v]] == before(42)
    for document in found.values():
        used = next(i for i in document["Images"] if "busybox:latest" in (i["RepoTags"] or ()))
        assert used["Containers"] > 0


def test_streams_name_their_kind(worlds: dict[str, World]) -> None:
    container = worlds["1.51"].exited()

    def multiplexed(world: World) -> bool:
        return "multiplexed" in world.ask("GET", f"/containers/{container}/logs?stdout=1").kind

    assert shown_in(worlds, multiplexed) == since(42)


def test_events_have_their_flat_members(worlds: dict[str, World]) -> None:
    container = worlds["1.51"].created()
    for world in worlds.values():
        path = f'/events?since=1&until=9999999999&filters={{"container":["{container}"]}}'
        made = [event for event in lines(world, path) if event["Action"] == "create"]
        assert made[0]["status"] == "create"
        assert made[0]["id"] == made[0]["Actor"]["ID"]
        assert made[0]["from"] == "busybox"


def lines(world: World, path: str) -> list[dict[str, Any]]:
    body = world.must("GET", path.replace("until=9999999999", f"until={world.now()}"))
    return body if isinstance(body, list) else [body]


def test_create_forgets_what_came_later(worlds: dict[str, World]) -> None:
    """Members that a version did not have are not read, as with Docker."""
    for version, world in worlds.items():
        name = world.created(
            Healthcheck={"Test": ["CMD", "true"], "StartInterval": 2_000_000_000},
            HostConfig={
                "Annotations": {"a": "1"},
                "CgroupnsMode": "host",
                "AutoRemove": True,
                "Mounts": [
                    {
                        "Type": "bind",
                        "Source": "/tmp",
                        "Target": "/t",
                        "BindOptions": {"NonRecursive": True},
                    }
                ],
                "ConsoleSize": [10, 20],
                "KernelMemory": 0 if version in before(42) else 1 << 30,
            },
        )
        found = worlds["1.51"].must("GET", f"/containers/{name}/json")
        host = found["HostConfig"]
        assert ("Annotations" in host) == (version in since(43))
        assert host["AutoRemove"] == (version in since(25))
        assert ("BindOptions" in host["Mounts"][0]) == (version in since(40))
        assert host["IpcMode"] == ("private" if version in since(40) else "shareable")
        assert (host["ConsoleSize"] == [10, 20]) == (version in since(42))
        assert (host["CgroupnsMode"] == "host") == (version in since(41))
        assert ("StartInterval" in found["Config"]["Healthcheck"]) == (version in since(44))


def test_members_of_networks_in_a_list(worlds: dict[str, World], running: str) -> None:
    def told(world: World) -> bool:
        return any(network["Containers"] for network in world.must("GET", "/networks"))

    assert shown_in(worlds, told) == before(28)


def test_parameters_that_meant_nothing(worlds: dict[str, World]) -> None:
    container = worlds["1.51"].created()

    def waits(world: World) -> bool:
        return world.ask("POST", f"/containers/{container}/wait?condition=none").status == 200

    def pulls(world: World) -> bool:
        path = "/images/create?fromImage=127.0.0.1:1/x&tag=1&platform=a/b/c/d"
        return world.ask("POST", path).status == 503

    def updates(world: World) -> bool:
        world.must("POST", f"/containers/{container}/update", {"PidsLimit": int(world.version[2:])})
        limit = world.must("GET", f"/containers/{container}/json")["HostConfig"]["PidsLimit"]
        return bool(limit == int(world.version[2:]))

    assert shown_in(worlds, waits) == before(30)
    assert shown_in(worlds, pulls) == before(32)
    assert shown_in(worlds, updates) == since(40)


def test_create_before_several_networks(worlds: dict[str, World]) -> None:
    body = {
        "Image": "busybox",
        "NetworkingConfig": {"EndpointsConfig": {"bridge": {}, "host": {}}},
    }
    answer = worlds["1.43"].ask("POST", "/containers/create", body)
    assert answer.status == 400
    message = "Container cannot be connected to network endpoints: bridge, host"
    assert answer.body["message"] == message


def test_create_before_platforms(worlds: dict[str, World]) -> None:
    def refused(world: World) -> bool:
        path = f"/containers/create?platform=linux/s390x&name={world.version[2:]}-{world.fresh()}"
        body = {"Image": "busybox", "Labels": {"contract": "1"}}
        return world.ask("POST", path, body).status == 404

    assert shown_in(worlds, refused) == since(41)


def test_prune_before_anonymous_volumes(worlds: dict[str, World]) -> None:
    """Until 1.41 a prune took named volumes too."""

    def taken(world: World) -> bool:
        label = f"prune-{world.version}"
        world.must(
            "POST", "/volumes/create", {"Name": label, "Labels": {label: "", "contract": ""}}
        )
        pruned = world.must("POST", f'/volumes/prune?filters={{"label":["{label}"]}}')
        return bool(pruned["VolumesDeleted"] == [label])

    assert shown_in(worlds, taken) == before(42)


def test_stop_signal_of_a_request(worlds: dict[str, World]) -> None:
    """Before 1.42 the parameter meant nothing, so a wrong one is no error."""
    container = worlds["1.51"].running()

    def refused(world: World) -> bool:
        worlds["1.51"].ask("POST", f"/containers/{container}/start")
        return world.ask("POST", f"/containers/{container}/stop?signal=BOGUS&t=5").status == 400

    assert shown_in(worlds, refused) == since(42)


def test_routes_that_came(worlds: dict[str, World]) -> None:
    volume = worlds["1.51"].volume()

    def there(world: World) -> bool:
        return world.ask("PUT", f"/volumes/{volume}?version=1", {}).status == 503

    assert shown_in(worlds, there) == since(42)
    assert not shown_in(
        worlds, lambda w: w.ask("GET", "/images/busybox/attestations").status != 404
    )


@pytest.mark.parametrize("version", ["1.23", "0.1"])
def test_too_old(ketchd: Ketchd, version: str) -> None:
    answer = World(ketchd, version).ask("GET", "/containers/json")
    assert answer.status == 400
    assert answer.kind.startswith("text/plain")
    message = f"client version {version} is too old. Minimum supported API version is 1.24"
    assert answer.body.decode().startswith(message)


@pytest.mark.parametrize("version", ["1.52", "1.99", "2.0"])
def test_too_new(ketchd: Ketchd, version: str) -> None:
    answer = World(ketchd, version).ask("GET", "/containers/json")
    assert answer.status == 400
    message = f"client version {version} is too new. Maximum supported API version is 1.51"
    assert answer.body["message"] == message
