"""From create bodies to specifications; what is not supported is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.fake_engine import ID, FakeEngine
from api.wire import Client
from ketch.api import body, filters, times
from ketch.api.convert_create import container_spec
from ketch.api.convert_mounts import parse_bind
from ketch.api.credentials import build_credentials, registry_auth
from ketch.api.lookahead import split
from ketch.api.schema.container import ContainerCreate
from ketch.engine.containers.spec import ContainerSpec, EndpointSpec, PortSpec
from ketch.errors import InvalidParameter, KetchError


def spec(**members: Any) -> ContainerSpec:
    import msgspec

    return container_spec(body.decode(msgspec.json.encode(members), ContainerCreate))


def host(**members: Any) -> ContainerSpec:
    return spec(Image="x", HostConfig=members)


async def test_create(client: Client, engine: FakeEngine) -> None:
    document = {
        "Image": "busybox",
        "Cmd": "single",
        "Env": ["A=1"],
        "Tty": True,
        "ExposedPorts": {"80/tcp": {}, "90": {}},
        "HostConfig": {
            "Binds": ["/a:/b:ro", "data:/data"],
            "PortBindings": {"80/tcp": [{"HostPort": "8080"}]},
            "NetworkMode": "net1",
            "Memory": 1 << 26,
            "CapAdd": ["NET_ADMIN"],
            "Init": None,
            "MemorySwappiness": -1,
            "ConsoleSize": [30, 100],
            "BlkioWeightDevice": [],
        },
        "NetworkingConfig": {"EndpointsConfig": {"net1": {"Aliases": ["web"]}}},
    }
    found = await client.ask("POST", "/v1.51/containers/create?name=web", document)
    assert (found.status, found.json["Id"]) == (201, ID)
    assert "aliases" in found.json["Warnings"][0]
    made, name = engine.containers.created[0]
    assert name == "web"
    assert made.cmd == ("single",)
    assert made.exposed_ports == ("80/tcp", "90/tcp")
    assert [mount.type for mount in made.mounts] == ["bind", "volume"]
    assert made.mounts[0].read_only
    assert made.ports == (PortSpec(container_port=80, host_port="8080"),)
    assert made.endpoints == (EndpointSpec(network="net1", aliases=("web",)),)
    assert made.console_size == (30, 100)
    assert made.resources.memory == 1 << 26


async def test_no_warnings_is_an_empty_list(client: Client) -> None:
    found = await client.ask("POST", "/containers/create", {"Image": "x"})
    assert found.body == b'{"Id":"%s","Warnings":[]}\n' % ID.encode()


async def test_old_mac_address_warns(client: Client, engine: FakeEngine) -> None:
    document = {"Image": "x", "MacAddress": "02:42:ac:11:00:05"}
    old = await client.ask("POST", "/v1.43/containers/create", document)
    assert old.json["Warnings"] == []
    new = await client.ask("POST", "/v1.44/containers/create", document)
    assert "deprecated" in new.json["Warnings"][0]
    assert engine.containers.created[0][0].endpoints[0].mac == "02:42:ac:11:00:05"


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"IOMaximumIOps": 5}, "IOMaximumIOps"),
        ({"Mounts": [{"Type": "npipe", "Target": "/i", "Source": "x"}]}, "npipe"),
        ({"FutureOption": "x"}, "HostConfig.FutureOption"),
    ],
)  # fmt: skip
def test_unsupported_is_named(members: dict[str, Any], named: str) -> None:
    with pytest.raises(KetchError, match=named):
        host(**members)


def test_empty_values_of_the_same_are_fine() -> None:
    host(DeviceRequests=None, BlkioDeviceReadBps=[], StorageOpt={}, KernelMemory=0, FutureOption=0)


@pytest.mark.parametrize(
    "members",
    [
        {"Binds": ["a:b:c:d"]}, {"Binds": [":/x"]}, {"Binds": ["/a:/b:bogus"]},
        {"Binds": ["./a:/b"]}, {"Binds": ["/a:/b:ro,rw"]},
        {"Mounts": [{"Type": "bogus", "Target": "/x"}]}, {"Mounts": [{"Type": "bind"}]},
        {"Mounts": [{"Type": "bind", "Target": "/x", "Source": "rel"}]},
        {"Mounts": [{"Type": "tmpfs", "Target": "/x", "Source": "/y"}]},
        {"Mounts": [{"Type": "volume", "Target": "/v", "Source": "v",
                     "VolumeOptions": {"Subpath": "../s"}}]},
        {"Mounts": [{"Type": "volume", "Target": "/v", "VolumeOptions": {"Subpath": "s"}}]},
        {"Mounts": [{"Type": "image", "Target": "/v"}]},
        {"Mounts": [{"Type": "bind", "Target": "/x", "Source": "/x",
                     "BindOptions": {"ReadOnlyForceRecursive": True}}]},
        {"Mounts": [{"Type": "bind", "Target": "/x", "Source": "/x", "ReadOnly": True,
                     "BindOptions": {"ReadOnlyForceRecursive": True, "NonRecursive": True}}]},
        {"Mounts": [{"Type": "tmpfs", "Target": "/x", "BindOptions": {"Propagation": "shared"}}]},
        {"PortBindings": {"99999/tcp": []}}, {"PortBindings": {"80/bogus": []}},
        {"ConsoleSize": [1]}, {"ConsoleSize": [-1, 5]}, {"Memory": 1 << 70}, {"Memory": 1.5},
        {"Ulimits": [{"Soft": 1}]},
    ],
)  # fmt: skip
def test_malformed(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        host(**members)


def test_default_network_names() -> None:
    assert host(NetworkMode="default").network_mode == "bridge"
    found = spec(Image="x", NetworkingConfig={"EndpointsConfig": {"default": {}}})
    assert found.endpoints == (EndpointSpec(network="bridge"),)


def test_binds() -> None:
    assert parse_bind("/only").type == "volume"
    shared = parse_bind("/a:/b:rshared,z")
    assert (shared.propagation, shared.mode, shared.create_source) == ("rshared", "rshared,z", True)
    assert parse_bind("v:/b:nocopy", "local").no_copy


def test_credentials() -> None:
    import base64

    text = base64.urlsafe_b64encode(b'{"username":"u","password":"p~~?"}').decode()
    auth = registry_auth(text)
    assert auth is not None
    assert (auth.username, auth.password) == ("u", "p~~?")
    assert registry_auth("") is None
    assert registry_auth("e30=") is None
    config = base64.b64encode(
        b'{"https://index.docker.io/v1/":{"auth":"' + base64.b64encode(b"a:b") + b'"}}'
    )
    assert build_credentials(config.decode()) == {"docker.io": ("a", "b")}
    with pytest.raises(InvalidParameter):
        registry_auth("!!!")


@given(st.binary(max_size=300))
def test_hostile_bodies(data: bytes) -> None:
    try:
        container_spec(body.decode(data, ContainerCreate))
    except KetchError:
        pass


@given(st.text(max_size=100))
def test_hostile_parameters(text: str) -> None:
    for reader in (filters.parse, registry_auth, build_credentials, parse_bind):
        try:
            reader(text)
        except KetchError:
            pass
    try:
        times.parse(text, "since")
    except KetchError:
        pass


@given(st.binary(max_size=200), st.integers(0, 200))
def test_no_byte_is_lost_when_splitting(tail: bytes, length: int) -> None:
    head = (
        b"POST /v1.44/containers/x/attach?stream=1 HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % length
    )
    found = split(head + tail)
    if len(tail) < length:
        assert found is None
    else:
        assert found == (head + tail[:length], tail[length:])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("0", 0),
        ("1700000000", 1_700_000_000_000_000_000),
        ("1700000000.5", 1_700_000_000_500_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000_000_000),
        ("2023-11-14T22:13:20.25+01:00", 1_699_996_400_250_000_000),
        ("2023-11-14", 1_699_920_000_000_000_000),
    ],
)
def test_instants(text: str, expected: int) -> None:
    assert times.parse(text, "since") == expected


def test_bad_instant() -> None:
    with pytest.raises(
        InvalidParameter, match=r"invalid value for 'since': invalid timestamp \"abc\""
    ):
        times.parse("abc", "since")
