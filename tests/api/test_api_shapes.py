"""Documents: against Docker's own description, and the details that clients lean on."""

from __future__ import annotations

import base64

import msgspec
import pytest

from api import openapi
from api.fake_engine import EXEC_ID, ID, FakeEngine, record
from api.wire import Client
from ketch.api import body, responses
from ketch.api.convert_container import inspect_json, state_json
from ketch.api.convert_create import container_spec
from ketch.api.convert_image import image_summary
from ketch.api.convert_summary import human_duration, status_text, summary_json
from ketch.api.file_mode import go_mode
from ketch.api.resources.container_files import stat_header
from ketch.api.schema.container import ContainerCreate
from ketch.engine.containers.files import PathStat
from ketch.engine.containers.health_values import Health, HealthProbe
from ketch.engine.containers.record import ContainerState, Endpoint, MountPoint, Status
from ketch.engine.containers.spec import ContainerSpec, EndpointSpec, MountSpec
from ketch.engine.images.values import ImageRecord

SECOND = 1_000_000_000


@pytest.mark.parametrize("version", [(1, 24), (1, 40), (1, 43), (1, 44), (1, 51)])
def test_inspect_has_dockers_shape(version: tuple[int, int]) -> None:
    found = inspect_json(record(), version, driver="erofs")
    openapi.check(found, "ContainerInspectResponse")
    assert found["Name"] == "/web"
    assert found["Path"] == "sleep"
    assert found["Args"] == ["9"]
    assert found["Config"]["Hostname"] == ID[:12]
    assert found["NetworkSettings"]["IPAddress"] == "172.17.0.2"
    assert found["NetworkSettings"]["Ports"] == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]
    }
    assert found["HostConfig"]["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert found["HostConfig"]["Binds"] is None
    assert ("KernelMemory" in found["HostConfig"]) == (version < (1, 42))
    network = found["NetworkSettings"]["Networks"]["bridge"]
    assert ("DNSNames" in network) == (version >= (1, 44))


def test_before_the_start_paths_are_empty() -> None:
    found = inspect_json(record(state=ContainerState()), (1, 51))
    for name in ("ResolvConfPath", "HostnamePath", "HostsPath", "LogPath"):
        assert found[name] == ""
    assert found["State"]["StartedAt"] == "0001-01-01T00:00:00Z"
    assert found["NetworkSettings"]["Ports"] == {}
    assert found["NetworkSettings"]["Networks"]["bridge"]["NetworkID"] == ""


def test_a_list_that_was_sent_empty_is_shown_empty() -> None:
    asked = {"Image": "x", "HostConfig": {"Devices": [], "Dns": [], "CapAdd": None}}
    spec = container_spec(body.decode(msgspec.json.encode(asked), ContainerCreate))
    host = inspect_json(record(spec=spec), (1, 51))["HostConfig"]
    assert (host["Devices"], host["Dns"]) == ([], [])
    assert (host["CapAdd"], host["Ulimits"], host["DnsSearch"]) == (None, None, None)


def test_what_was_asked_of_the_network_is_shown_before_the_start() -> None:
    mac = "02:42:ac:11:00:05"
    spec = ContainerSpec(image="x", endpoints=(EndpointSpec(network="bridge", mac=mac),))
    found = inspect_json(record(spec=spec, state=ContainerState()), (1, 51))
    assert found["Config"]["MacAddress"] == mac
    assert found["Config"]["Env"] is None
    assert found["NetworkSettings"]["MacAddress"] == mac
    assert found["NetworkSettings"]["Networks"]["bridge"]["MacAddress"] == mac


def test_a_stopped_container_knows_its_networks() -> None:
    spec = ContainerSpec(image="x", network_mode="net1")
    state = ContainerState(status=Status.EXITED, network_ids={"net1": "ab"})
    found = inspect_json(record(spec=spec, state=state), (1, 51))
    network = found["NetworkSettings"]["Networks"]["net1"]
    assert (network["NetworkID"], network["EndpointID"]) == ("ab", "")
    assert network["DNSNames"] == ["web", ID[:12]]


def test_hosts_names_and_ports() -> None:
    spec = ContainerSpec(image="x", uts_mode="host", exposed_ports=("80/tcp",))
    found = inspect_json(record(spec=spec), (1, 51))
    assert found["Config"]["Hostname"] == ID[:12]
    state = ContainerState(
        status=Status.RUNNING, endpoints=(Endpoint(network="host", network_id="1"),)
    )
    found = inspect_json(record(spec=spec, state=state), (1, 51))
    assert found["NetworkSettings"]["Ports"] == {}


def test_summary_has_dockers_shape() -> None:
    found = summary_json(record(), (1, 51))
    openapi.check(found, "ContainerSummary")
    assert found["Ports"] == [
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}
    ]
    assert found["Created"] == 1_700_000_000
    assert found["Command"] == "sleep 9"


def test_paused_is_running_too() -> None:
    state = state_json(record(state=ContainerState(status=Status.PAUSED, pid=1)))
    assert (state["Running"], state["Paused"], state["Status"]) == (True, True, "paused")


def test_health_only_when_probed() -> None:
    assert "Health" not in state_json(record())
    health = Health(status="healthy", log=(HealthProbe(start=1, end=2, exit_code=0, output="ok"),))
    found = state_json(record(state=ContainerState(status=Status.RUNNING, health=health)))
    assert found["Health"]["Status"] == "healthy"
    openapi.check(found, "ContainerState")


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (ContainerState(), "Created"),
        (ContainerState(status=Status.RUNNING, started_at=1), "Up Less than a second"),
        (
            ContainerState(
                status=Status.RUNNING, started_at=1 - 2 * SECOND, health=Health(status="healthy")
            ),
            "Up 2 seconds (healthy)",
        ),
        (ContainerState(status=Status.PAUSED, started_at=1 - 2 * SECOND), "Up 2 seconds (Paused)"),
        (
            ContainerState(status=Status.EXITED, exit_code=137, finished_at=1 - 4 * SECOND),
            "Exited (137) 4 seconds ago",
        ),
        (ContainerState(status=Status.REMOVING), "Removal In Progress"),
        (ContainerState(status=Status.DEAD), "Dead"),
    ],
)
def test_status_words(state: ContainerState, text: str) -> None:
    assert status_text(record(state=state), 1) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (150, "2 minutes"),
        (3600, "About an hour"),
        (3 * 3600, "3 hours"),
        (49 * 3600, "2 days"),
        (15 * 86400, "2 weeks"),
        (90 * 86400, "3 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_durations(seconds: int, text: str) -> None:
    assert human_duration(seconds * SECOND) == text


def test_mounts() -> None:
    spec = ContainerSpec(
        image="x",
        binds=("/a:/b:ro",),
        mounts=(
            MountSpec(type="bind", source="/a", target="/b", read_only=True, mode="ro"),
            MountSpec(type="volume", source="v", target="/v", labels={"k": "v"}),
            MountSpec(type="tmpfs", target="/t", tmpfs_options=("size=1m",), short=True),
            MountSpec(type="tmpfs", target="/u", tmpfs_size=4096),
        ),
    )
    point = MountPoint(type="volume", source="/x", target="/v", name="v", driver="local", mode="z")
    found = inspect_json(record(spec=spec, mount_points=(point,)), (1, 51))
    openapi.check(found, "ContainerInspectResponse")
    host = found["HostConfig"]
    assert host["Binds"] == ["/a:/b:ro"]
    assert host["Mounts"] == [
        {"Type": "volume", "Target": "/v", "Source": "v", "VolumeOptions": {"Labels": {"k": "v"}}},
        {"Type": "tmpfs", "Target": "/u", "TmpfsOptions": {"SizeBytes": 4096}},
    ]
    assert host["Tmpfs"] == {"/t": "size=1m"}
    assert found["Mounts"][0]["Destination"] == "/v"


async def test_exec_document(client: Client, engine: FakeEngine) -> None:
    found = (await client.ask("GET", f"/exec/{EXEC_ID}/json")).json
    assert found["ProcessConfig"] == {
        "tty": False,
        "entrypoint": "true",
        "arguments": [],
        "privileged": False,
    }
    assert found["ExitCode"] == 0
    openapi.check_response(found, "get", "/exec/{id}/json")


async def test_archive_stat_header(client: Client) -> None:
    found = await client.ask("HEAD", f"/containers/{ID}/archive?path=/etc")
    stat = msgspec.json.decode(base64.b64decode(found.headers["X-Docker-Container-Path-Stat"]))
    assert stat["mode"] == 2147484141
    assert stat["name"] == "etc"
    assert (await client.ask("HEAD", f"/containers/{ID}/archive?path=/nope")).status == 404
    none = await client.ask("GET", f"/containers/{ID}/archive")
    assert none.message == "bad parameter: path cannot be empty"


def test_files_may_be_as_old_as_the_epoch() -> None:
    def mtime(instant: int) -> str:
        header = stat_header(PathStat(name="x", size=0, mode=0o100644, mtime=instant))
        return str(msgspec.json.decode(base64.b64decode(next(iter(header.values()))))["mtime"])

    assert mtime(0) == "1970-01-01T00:00:00Z"
    assert mtime(-SECOND // 2) == "1969-12-31T23:59:59.5Z"


def test_names_of_images_before_placeholders_went() -> None:
    named = ImageRecord(id="sha256:1", created_at=0, size=1, layers=(), tags=("x:1",))
    for version in ((1, 42), (1, 51)):
        assert image_summary(named, version)["RepoDigests"] == []
    bare = ImageRecord(id="sha256:1", created_at=0, size=1, layers=())
    assert image_summary(bare, (1, 42))["RepoTags"] == ["<none>:<none>"]
    assert image_summary(bare, (1, 42))["RepoDigests"] == ["<none>@<none>"]
    assert image_summary(bare, (1, 43))["RepoTags"] == []


def test_file_modes() -> None:
    assert go_mode(0o40755) == 2147484141
    assert go_mode(0o120777) == 134218239
    assert go_mode(0o104755) == 0o755 | 1 << 23
    assert go_mode(0o100644) == 0o644


def test_names_that_are_no_utf8_do_not_break_an_answer() -> None:
    """Whatever the engine says of a file, in a document or in an error."""
    name = b"a\xff\xc3\xa9".decode("utf-8", "surrogateescape")
    assert responses.encode({"message": f"open {name}"}) == (
        b'{"message":"open a\xef\xbf\xbd\xc3\xa9"}\n'
    )
