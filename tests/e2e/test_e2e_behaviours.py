"""What clients lean on: statuses and words of Docker's answers, from a real engine."""

from __future__ import annotations

import http.client
import io
import json
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

from api import openapi
from e2e.ketchd_process import Ketchd
from e2e.unix_http import UnixConnection

pytestmark = pytest.mark.root


class Api:
    """Plain requests."""

    def __init__(self, ketchd: Ketchd) -> None:
        self._path = str(ketchd.socket)

    def __call__(
        self, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = UnixConnection(self._path)
        try:
            headers = {"Content-Type": kind} if body is not None else {}
            connection.request(method, f"/v1.51{path}", data, headers)
            answer = connection.getresponse()
            self.headers: http.client.HTTPMessage = answer.headers
            text = answer.read()
        finally:
            connection.close()
        is_json = (answer.headers.get("Content-Type") or "").startswith("application/json")
        try:
            return answer.status, json.loads(text) if is_json and text else text
        except ValueError:
            return answer.status, text

    def create(self, name: str, **config: Any) -> str:
        status, found = self(
            "POST", f"/containers/create?name={name}", {"Image": "busybox", **config}
        )
        assert status == 201, found
        return str(found["Id"])


@pytest.fixture
def api(ketchd: Ketchd) -> Api:
    return Api(ketchd)


@pytest.mark.parametrize(
    ("config", "status", "message"),
    [
        ({"Image": "nope"}, 404, "No such image: nope:latest"),
        ({}, 400, "config cannot be empty in order to create a container"),
        ({"Image": "BAD"}, 400, "must be lowercase"),
        ({"Env": ["=x"]}, 400, "invalid environment variable: =x"),
        ({"StopSignal": "SIGFOO"}, 400, "invalid signal: SIGFOO"),
        ({"HostConfig": {"Memory": 1000}}, 400, "Minimum memory limit allowed is 6MB"),
        ({"HostConfig": {"NanoCpus": 99 * 10**9}}, 400, "range of CPUs is from 0.01 to"),
        (
            {"HostConfig": {"AutoRemove": True, "RestartPolicy": {"Name": "always"}}},
            400,
            "can't create 'AutoRemove' container with restart policy",
        ),
        (
            {"HostConfig": {"RestartPolicy": {"Name": "bogus"}}},
            400,
            "invalid restart policy: unknown policy 'bogus'; use one of 'no', 'always', "
            "'on-failure', or 'unless-stopped'",
        ),
        (
            {"HostConfig": {"CapAdd": ["BOGUS"]}},
            400,
            'invalid CapAdd: unknown capability: "CAP_BOGUS"',
        ),
        ({"HostConfig": {"Runtime": "bogus"}}, 400, "unknown or invalid runtime name: bogus"),
        (
            {"NetworkingConfig": {"EndpointsConfig": {"bridge": {
                "IPAMConfig": {"IPv4Address": "172.17.0.9"}}}}},
            400,
            "invalid config for network bridge: invalid endpoint settings:\n* user specified IP "
            "address is supported on user defined networks only\n* user specified IP address is "
            "supported only when connecting to networks with user configured subnets",
        ),
        (
            {"NetworkingConfig": {"EndpointsConfig": {"bridge": {"Aliases": ["a"]}}}},
            400,
            "invalid config for network bridge: invalid endpoint settings:\nnetwork-scoped alias "
            "is supported only for containers in user defined networks",
        ),
        (
            {"HostConfig": {"Annotations": {"": "x"}}},
            400,
            "invalid Annotations: the empty string is not permitted as an annotation key",
        ),
        (
            {"HostConfig": {"Links": ["nope:x"]}},
            400,
            "could not get container for nope: No such container: nope",
        ),
        ({"HostConfig": {"ShmSize": -1}}, 400, "SHM size can not be less than 0"),
        (
            {"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/nope/x", "Target": "/y"}]}},
            400,
            'invalid mount config for type "bind": bind source path does not exist: /nope/x',
        ),
    ],
)  # fmt: skip
def test_create_refusals(api: Api, config: dict[str, Any], status: int, message: str) -> None:
    body = config if not config or "Image" in config else {"Image": "busybox", **config}
    found, answer = api("POST", "/containers/create", body)
    assert found == status, answer
    assert message in answer["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", "/containers/create?name=a", 400, "Invalid container name (a), only"),
        ("GET", "/containers/nope/json", 404, "No such container: nope"),
        ("DELETE", "/containers/nope?force=1", 404, "No such container: nope"),
        ("GET", '/containers/json?filters={"status":["x"]}', 400, "invalid value for state (x)"),
        ("GET", '/containers/json?filters={"before":["nope"]}', 404, "No such container: nope"),
        ("GET", '/containers/json?filters={"health":["x"]}', 400, "invalid value for health (x): "
         "must be one of none, starting, healthy, unhealthy"),
        ("GET", '/networks?filters={"type":["x"]}', 400, "invalid filter 'type=x'"),
        ("GET", '/networks?filters={"dangling":["x"]}', 400, "invalid filter 'dangling=x'"),
        ("POST", "/containers/nope/kill", 404, "cannot kill container: nope: No such container"),
        ("POST", "/containers/create?platform=x", 400, '"x": unknown operating system or'),
        ("POST", "/exec/nope/start", 404, "No such exec instance: nope"),
        ("GET", "/exec/nope/json", 404, "No such exec instance: nope"),
        ("GET", "/images/noimg/json", 404, "No such image: noimg:latest"),
        ("DELETE", "/images/noimg", 404, "No such image: noimg:latest"),
        ("POST", "/images/noimg/tag?repo=x", 404, "No such image: noimg:latest"),
        ("GET", "/volumes/novol", 404, "get novol: no such volume"),
        ("DELETE", "/volumes/novol", 404, "get novol: no such volume"),
        ("GET", "/networks/nonet", 404, "network nonet not found"),
        ("DELETE", "/networks/bridge", 403, "bridge"),
        ("POST", "/images/create?fromImage=127.0.0.1:99999/x", 400, "invalid registry address"),
        ("GET", "/distribution/127.0.0.1:99999/x/json", 400, "invalid registry address"),
        ("GET", "/images/search?term=a..b/x", 400, "is no name of a host"),
        ("GET", "/images/search?term=[::/x", 400, "is no name of a host"),
        ("GET", "/system/df?type=bogus", 400, "unknown object type: bogus"),
        ("GET", "/events?since=abc", 400, "invalid value for 'since': invalid timestamp"),
        ("POST", "/build?dockerfile=Missing", 400, "Cannot locate specified Dockerfile: Missing"),
    ],
)  # fmt: skip
def test_refusals(api: Api, method: str, path: str, status: int, message: str) -> None:
    body: Any = {"Image": "busybox"} if "create" in path else None
    kind = "application/json"
    if path.startswith("/build"):
        body, kind = empty_tar(), "application/x-tar"
    found, answer = api(method, quote(path, safe="/?=&:,"), body, kind)
    assert found == status, answer
    assert message in answer["message"]


def empty_tar() -> bytes:
    out = io.BytesIO()
    tarfile.open(fileobj=out, mode="w").close()
    return out.getvalue()


def test_empty_lists(api: Api) -> None:
    assert api("GET", '/containers/json?filters={"ancestor":["NONE"]}') == (200, [])
    assert api("GET", "/plugins") == (200, [])
    status, volumes = api("GET", '/volumes?filters={"name":["none-of-these"]}')
    assert (status, volumes) == (200, {"Volumes": [], "Warnings": None})
    status, pruned = api("POST", '/containers/prune?filters={"label":["none-of-these"]}')
    assert (status, pruned) == (200, {"ContainersDeleted": None, "SpaceReclaimed": 0})


def test_documents_have_dockers_shape(api: Api, name: str) -> None:
    api.create(name, HostConfig={"PortBindings": {"80/tcp": [{}]}}, Cmd=["sleep", "600"])
    assert api("POST", f"/containers/{name}/start") == (204, b"")
    for method, path, where in (
        ("get", f"/containers/{name}/json", "/containers/{id}/json"),
        ("get", "/containers/json?all=1&size=1", "/containers/json"),
        ("get", "/images/json", "/images/json"),
        ("get", "/images/busybox/json", "/images/{name}/json"),
        ("get", "/images/busybox/history", "/images/{name}/history"),
        ("get", "/networks", "/networks"),
        ("get", "/networks/bridge", "/networks/{id}"),
        ("get", "/volumes", "/volumes"),
        ("get", "/version", "/version"),
        ("get", "/info", "/info"),
        ("get", f"/containers/{name}/top", "/containers/{id}/top"),
        ("get", f"/containers/{name}/stats?stream=0&one-shot=1", "/containers/{id}/stats"),
    ):
        status, found = api(method.upper(), path)
        assert status == 200, (path, found)
        openapi.check_response(found, method, where)


def test_minimal_create_as_docker_shows_it(api: Api, name: str) -> None:
    identity = api.create(name)
    found = api("GET", f"/containers/{name}/json")[1]
    assert found["Config"]["Hostname"] == identity[:12]
    assert found["Config"]["Cmd"] == ["sh"]
    assert found["Config"]["Entrypoint"] is None
    assert (found["Path"], found["Args"]) == ("sh", [])
    assert found["State"]["Status"] == "created"
    assert found["State"]["StartedAt"] == "0001-01-01T00:00:00Z"
    assert found["LogPath"] == ""
    host = found["HostConfig"]
    assert host["NetworkMode"] == "bridge"
    assert host["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert host["LogConfig"]["Type"] == "json-file"
    assert host["ShmSize"] == 67108864
    for member in ("Binds", "CapAdd", "CapDrop", "Devices", "Ulimits", "SecurityOpt"):
        assert host[member] is None


def test_control(api: Api, name: str) -> None:
    identity = api.create(name, Cmd=["sleep", "600"])
    assert api("POST", f"/containers/{name}/stop") == (304, b"")
    assert api("POST", f"/containers/{name}/start") == (204, b"")
    assert api("POST", f"/containers/{name}/start") == (304, b"")
    conflict = api("POST", f"/containers/create?name={name}", {"Image": "busybox"})
    assert conflict[0] == 409
    assert conflict[1]["message"] == (
        f'Conflict. The container name "/{name}" is already in use by container "{identity}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )
    status, found = api("DELETE", f"/containers/{name}")
    assert status == 409
    assert f'cannot remove container "{name}": container is running' in found["message"]
    status, found = api("POST", f"/containers/{name}/kill?signal=BOGUS")
    assert status == 400
    assert "invalid signal: BOGUS" in found["message"]
    assert api("POST", f"/containers/{name}/pause") == (204, b"")
    status, found = api("POST", f"/containers/{name}/pause")
    assert (status, found["message"]) == (409, f"container {identity} is already paused")
    status, found = api("POST", f"/containers/{name}/exec", {"Cmd": ["true"]})
    assert status == 409
    assert "is paused, unpause the container before exec" in found["message"]
    assert api("POST", f"/containers/{name}/unpause") == (204, b"")
    status, found = api("POST", f"/containers/{name}/exec", {})
    assert (status, found["message"]) == (400, "No exec command specified")
    status, found = api("POST", f"/containers/{name}/update", {"Memory": 64 << 20})
    assert (status, found) == (200, {"Warnings": None})
    status, found = api("POST", f"/containers/{name}/rename?name={name}")
    assert (status, found["message"]) == (
        400,
        "Renaming a container with the same name as its current name",
    )
    assert api("POST", f"/containers/{name}/kill") == (204, b"")
    status, found = api("POST", f"/containers/{name}/kill")
    assert status == 409
    assert found["message"].endswith("is not running")
    assert api("POST", f"/containers/{name}/wait") == (200, {"StatusCode": 137})


def test_unknown_network_fails_the_start(api: Api, name: str) -> None:
    api.create(name, HostConfig={"NetworkMode": "nonet"})
    status, found = api("POST", f"/containers/{name}/start")
    assert status == 404
    message = "failed to set up container networking: network nonet not found"
    assert found["message"] == message
    state = api("GET", f"/containers/{name}/json")[1]["State"]
    assert (state["Status"], state["ExitCode"]) == ("created", 128)
    assert message in state["Error"]


@pytest.fixture
def archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("hello")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"hi\n"))
    return out.getvalue()


def test_archive_routes(api: Api, name: str, archive: bytes) -> None:
    api.create(name)
    put = f"/containers/{name}/archive?path="
    assert api("PUT", f"{put}/tmp", archive, "application/x-tar") == (200, b"")
    status, data = api("GET", f"{put}/tmp/hello")
    assert status == 200
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["hello"]
    status, found = api("GET", f"{put}/nope")
    assert (status, found["message"]) == (404, f"Could not find the file /nope in container {name}")
    assert api("HEAD", f"{put}/nope")[0] == 404
    assert api("HEAD", f"{put}/tmp")[0] == 200
    assert "X-Docker-Container-Path-Stat" in api.headers
    status, found = api("PUT", f"{put}/tmp/hello", archive, "application/x-tar")
    assert (status, found["message"]) == (400, "extraction point is not a directory")
    status, found = api("PUT", f"{put}/tmp", b"garbage" * 100, "application/x-tar")
    assert status in (400, 500)
    assert api("GET", f"/containers/{name}/changes")[1]


def test_no_changes_is_null(api: Api, name: str) -> None:
    api.create(name)
    assert api("GET", f"/containers/{name}/changes") == (200, None)


def test_volumes(api: Api, name: str) -> None:
    status, made = api("POST", "/volumes/create", {"Name": name, "Labels": {"a": "b"}})
    assert status == 201
    assert api("POST", "/volumes/create", {"Name": name, "Labels": {"c": "d"}}) == (201, made)
    status, anonymous = api("POST", "/volumes/create", {})
    assert len(anonymous["Name"]) == 64
    assert anonymous["Labels"] == {"com.docker.volume.anonymous": ""}
    status, bare = api("POST", "/volumes/create")
    assert (status, api("DELETE", f"/volumes/{bare['Name']}")) == (201, (204, b""))
    for config in ({"Driver": "bogus"}, {"DriverOpts": {"bogus": "1"}}):
        status, found = api("POST", "/volumes/create", {"Name": "other", **config})
        assert found["message"].startswith("create other: ")
    identity = api.create(name, HostConfig={"Binds": [f"{name}:/v"]})
    status, found = api("DELETE", f"/volumes/{name}")
    assert (status, found["message"]) == (409, f"remove {name}: volume is in use - [{identity}]")
    assert api("DELETE", f"/containers/{name}") == (204, b"")
    for volume in (name, anonymous["Name"]):
        assert api("DELETE", f"/volumes/{volume}") == (204, b"")
    assert api("DELETE", f"/volumes/{name}?force=1") == (204, b"")


def test_a_pattern_shows_only_its_names(api: Api) -> None:
    assert api("POST", "/images/busybox/tag?repo=pattern-x&tag=1") == (201, b"")
    found = api("GET", f"/images/json?filters={quote(json.dumps({'reference': ['pattern-*']}))}")
    assert [image["RepoTags"] for image in found[1]] == [["pattern-x:1"]]
    assert api("DELETE", "/images/pattern-x:1") == (200, [{"Untagged": "pattern-x:1"}])


def test_paths_that_no_file_system_has(api: Api, name: str) -> None:
    api.create(name, Cmd=["ln", "-s", "loop", "/loop"])
    assert api("POST", f"/containers/{name}/start") == (204, b"")
    assert api("POST", f"/containers/{name}/wait")[0] == 200
    for path in ("/" + "x" * 3000, "/loop/x"):
        for method in ("GET", "HEAD", "PUT"):
            data = empty_tar() if method == "PUT" else None
            status, found = api(method, f"/containers/{name}/archive?path={path}", data)
            assert 400 <= status < 500, found


def test_a_terminal_that_is_not_there_has_no_size(api: Api, name: str) -> None:
    api.create(name, Cmd=["sleep", "600"])
    assert api("POST", f"/containers/{name}/resize?h=1&w=1")[0] == 409
    assert api("POST", f"/containers/{name}/start") == (204, b"")
    assert api("POST", f"/containers/{name}/resize?h=1&w=1") == (200, b"")


def test_refusals_that_docker_calls_its_own_fault(api: Api, name: str) -> None:
    identity = api.create(name, Cmd=["sleep", "600"])
    assert api("POST", f"/containers/{name}/start") == (204, b"")
    status, found = api("POST", f"/containers/{name}/unpause")
    assert (status, found["message"]) == (409, f"Container {identity} is not paused")
    for arguments, words in (("-o args", "Couldn't find PID field"), ("'", "invalid ps_args")):
        status, found = api("GET", f"/containers/{name}/top?ps_args={quote(arguments)}")
        assert status == 400
        assert words in found["message"]
    status, found = api("POST", f"/containers/{name}/exec", {"Cmd": ["true"], "DetachKeys": "zz-"})
    assert status == 400
    assert "Invalid escape keys (zz-) provided" in found["message"]


def test_what_the_kernel_refuses_is_no_fault_of_the_server(api: Api, name: str) -> None:
    api.create(name, Cmd=["true"], User="99999999999")
    status, found = api("POST", f"/containers/{name}/start")
    assert (status, "uids and gids must be in range" in found["message"]) == (400, True)


def test_killed_while_it_is_being_paused(api: Api, name: str) -> None:
    api.create(name, Cmd=["sleep", "600"])
    for _ in range(5):
        assert api("POST", f"/containers/{name}/start") == (204, b"")
        with ThreadPoolExecutor(2) as pool:
            pausing = pool.submit(Api.__call__, api, "POST", f"/containers/{name}/pause")
            killing = pool.submit(Api.__call__, api, "POST", f"/containers/{name}/kill")
        assert killing.result()[0] == 204
        assert pausing.result()[0] in (204, 409)
        assert api("POST", f"/containers/{name}/wait") == (200, {"StatusCode": 137})


def test_owners_in_an_archive_are_kept(api: Api, name: str) -> None:
    api.create(name)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("mine")
        info.uid, info.gid = 1234, 5678
        tar.addfile(info)
    path = f"/containers/{name}/archive?path="
    for query in ("", "&copyUIDGID=1"):
        assert api("PUT", f"{path}/tmp{query}", out.getvalue(), "application/x-tar")[0] == 200
        with tarfile.open(fileobj=io.BytesIO(api("GET", f"{path}/tmp/mine")[1])) as tar:
            member = tar.getmember("mine")
            assert (member.uid, member.gid) == (1234, 5678)


def test_log_driver_none(api: Api, name: str) -> None:
    api.create(name, HostConfig={"LogConfig": {"Type": "none"}})
    status, found = api("GET", f"/containers/{name}/logs?stdout=1")
    assert status == 501
    assert found["message"] == "configured logging driver does not support reading"


def test_wait_conditions(api: Api, name: str) -> None:
    api.create(name, Cmd=["true"])
    assert api("POST", f"/containers/{name}/wait?condition=not-running") == (200, {"StatusCode": 0})
    status, found = api("POST", f"/containers/{name}/wait?condition=bogus")
    assert (status, found["message"]) == (400, 'invalid condition: "bogus"')


def events(api: Api, since: float) -> Iterator[dict[str, Any]]:
    path = f"/events?since={since:.6f}&until={time.time():.6f}"
    data = api("GET", path)[1]
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    for line in text.splitlines():
        yield json.loads(line)


def test_events_of_a_run(api: Api, ketchd: Ketchd, name: str) -> None:
    since = time.time()
    ketchd.docker("run", "--name", name, "--label", "k=v", "busybox", "sh", "-c", "exit 4", code=4)
    ketchd.docker("rm", name)
    found = [event for event in events(api, since) if event["Type"] == "container"]
    assert [event["Action"] for event in found] == ["create", "attach", "start", "die", "destroy"]
    die = found[3]
    assert die["Actor"]["Attributes"]["exitCode"] == "4"
    assert die["Actor"]["Attributes"]["k"] == "v"
    assert die["Actor"]["Attributes"]["name"] == name
    assert die["status"] == "die"
    assert die["scope"] == "local"
