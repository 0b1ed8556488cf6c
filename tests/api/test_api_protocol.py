"""Protocol: ping, versions, unknown paths, bodies, errors."""

from __future__ import annotations

import asyncio

import pytest

from api.fake_engine import ID, FakeEngine
from api.wire import Client


async def test_ping_tells_the_client_everything(client: Client) -> None:
    for method in ("GET", "HEAD"):
        found = await client.ask(method, "/_ping")
        assert found.status == 200
        assert found.headers["Api-Version"] == "1.51"
        assert found.headers["Builder-Version"] == "2"
        assert found.headers["Ostype"] == "linux"
        assert found.headers["Swarm"] == "inactive"
        assert found.headers["Docker-Experimental"] == "false"
        assert found.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert found.headers["Cache-Control"].startswith("no-cache")
        assert found.body == (b"OK" if method == "GET" else b"")
    assert found.headers["Content-Length"] == "0"
    old = await client.ask("GET", "/v1.10/_ping")
    assert (old.status, old.headers["Api-Version"]) == (200, "1.51")


@pytest.mark.parametrize("version", ["1.24", "1.32", "1.41", "1.44", "1.51"])
async def test_served_versions(client: Client, version: str) -> None:
    assert (await client.ask("GET", f"/v{version}/containers/json")).status == 200


async def test_too_new_and_too_old(client: Client) -> None:
    new = await client.ask("GET", "/v1.99/containers/json")
    assert new.status == 400
    assert new.message == ("client version 1.99 is too new. Maximum supported API version is 1.51")
    old = await client.ask("GET", "/v1.23/containers/json")
    assert old.status == 400
    assert old.headers["Content-Type"].startswith("text/plain")
    assert old.body.decode().startswith(
        "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade "
        "your client to a newer version"
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nothing"), ("PATCH", "/containers/json"), ("HEAD", "/version"), ("GET", "/v1.44/x")],
)
async def test_unknown_is_404_and_never_405(client: Client, method: str, path: str) -> None:
    found = await client.ask(method, path)
    assert found.status == 404
    assert "Api-Version" not in found.headers
    if method != "HEAD":
        assert found.message == "page not found"


async def test_options_is_200_and_empty(client: Client) -> None:
    found = await client.ask("OPTIONS", "/v1.44/containers/json")
    assert (found.status, found.body) == (200, b"")


async def test_names_with_slashes_route(client: Client) -> None:
    found = await client.ask("GET", "/v1.44/containers/a/b@sha256:00/json")
    assert found.status == 404
    assert found.message == "No such container: a/b@sha256:00"


async def test_error_shape(client: Client) -> None:
    found = await client.ask("GET", "/containers/nope/json")
    assert found.body == b'{"message":"No such container: nope"}\n'
    assert found.headers["Content-Type"] == "application/json"
    assert found.headers["Server"].startswith("Docker/")


async def test_not_modified_is_empty(client: Client) -> None:
    found = await client.ask("POST", f"/containers/{ID}/start")
    assert (found.status, found.body) == (304, b"")


@pytest.mark.parametrize(
    ("body", "header", "message"),
    [
        (b"{}", "text/plain", "unsupported Content-Type header (text/plain): must be"),
        (b"", "application/json", "invalid JSON: EOF"),
        (b'{"Image":"x"} more', "application/json", "invalid JSON: unexpected content after JSON"),
        (b'{"Image":', "application/json", "invalid JSON: unexpected EOF"),
        (b'{"Image":7}', "application/json", "$.Image"),
        (b"[]", "application/json", "invalid JSON"),
        (b"{}", "application/json", "config cannot be empty in order to create a container"),
        (b'{"Image":"x","Colour":"red"}', "application/json", "unknown field Colour"),
        (b"[" * 100_000, "application/json", "invalid JSON"),
        (b'{"Image":"\xff"}', "application/json", "invalid JSON"),
    ],
)
async def test_bad_bodies(client: Client, body: bytes, header: str, message: str) -> None:
    found = await client.ask("POST", "/containers/create", body, Content_Type=header)
    assert found.status == 400
    assert message in found.message


async def test_members_in_any_case(client: Client, engine: FakeEngine) -> None:
    """As Go's decoder has it: the last one counts, on every level."""
    document = {
        "image": "x",
        "Cmd": ["a"],
        "cmd": ["b"],
        "hostConfig": {"memory": 1 << 26, "mounts": [{"type": "tmpfs", "target": "/t"}]},
        "labels": {"Image": "i", "image": "j"},
    }
    assert (await client.ask("POST", "/containers/create", document)).status == 201
    made = engine.containers.created[0][0]
    assert (made.image, made.cmd, made.resources.memory) == ("x", ("b",), 1 << 26)
    assert [mount.target for mount in made.mounts] == ["/t"]
    assert made.labels == {"Image": "i", "image": "j"}
    wrong = await client.ask("POST", "/containers/create", {"Image": "x", "tty": "yes"})
    assert (wrong.status, "$.Tty" in wrong.message) == (400, True)
    unknown = {"Image": "x", "hostconfig": {"Colour": "red"}}
    found = await client.ask("POST", "/containers/create", unknown)
    assert (found.status, "unknown field HostConfig.Colour" in found.message) == (400, True)


async def test_members_of_a_clients_own(client: Client, engine: FakeEngine) -> None:
    """dockerode sends the parameters of its functions in the query and in the body."""
    document = {"name": "web", "Image": "x", "platform": "linux/amd64", "abortSignal": {"a": 1}}
    found = await client.ask("POST", "/containers/create?name=web&Image=x", document)
    assert found.status == 201
    assert engine.containers.created[0][1] == "web"


async def test_too_large_a_body(client: Client) -> None:
    body = b'{"Image":"' + b"x" * (5 << 20) + b'"}'
    found = await client.ask("POST", "/containers/create", body, Content_Type="application/json")
    assert found.status == 400
    assert "larger than" in found.message


async def test_filters_in_both_forms(client: Client, engine: FakeEngine) -> None:
    for text in ('{"label":["a=b"]}', '{"label":{"a=b":true,"c":false}}'):
        await client.ask("GET", f"/containers/json?filters={text}")
        assert engine.containers.calls[-1][1].filters == {"label": ("a=b",)}
    found = await client.ask("GET", '/containers/json?filters={"bogus":["1"]}')
    assert (found.status, found.message) == (400, "invalid filter 'bogus'")
    assert (await client.ask("GET", "/containers/json?filters=zz")).status == 400
    assert (await client.ask("GET", "/containers/json?filters=null")).status == 200


async def test_several_requests_on_one_connection(client: Client) -> None:
    for _ in range(3):
        assert (await client.ask("GET", "/_ping")).body == b"OK"


async def test_who_has_said_everything_is_answered(client: Client) -> None:
    """A script's ``nc -N -U`` ends its side at once; no further request can come."""
    await client.send("GET", "/containers/json")
    client.writer.write_eof()
    assert (await client.answer()).status == 200
    assert await asyncio.wait_for(client.reader.read(), 60) == b""


async def test_half_a_request_is_not_waited_for(client: Client) -> None:
    body = b"POST /containers/create HTTP/1.1\r\nHost: k\r\nContent-Length: 9\r\n\r\n{}"
    client.writer.write(body)
    client.writer.write_eof()
    assert await asyncio.wait_for(client.reader.read(), 60) == b""


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET /_ping HTTP/1.1\r\n\r\n", "Missing 'Host' header in request"),
        (b"GET /_ping HTTP/1.1\r\nHost: k\r\nfoo\r\n\r\n", "Invalid header"),
        (b"GET /_ping HTTP/1.1\r\nHost: k\r\nContent-Length: -2\r\n\r\n", "Content-Length"),
        (b"FOO-BAR\r\n\r\n", "Invalid method encountered"),
    ],
)
async def test_what_is_no_http(
    client: Client, sent: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Answered as other bad requests, the connection ends, and the log has no word of it."""
    with caplog.at_level("INFO"):
        client.writer.write(sent)
        found = await client.answer()
        assert await asyncio.wait_for(client.reader.read(), 60) == b""
    assert (found.status, found.message.count("\n")) == (400, 0)
    assert reason in found.message
    assert found.headers["Server"].startswith("Docker/ketch")
    assert not caplog.records


async def test_long_lines_and_headers(client: Client, engine: FakeEngine) -> None:
    """Build arguments and the accounts of many registries do not fit into 8 KiB."""
    found = await client.ask("GET", "/_ping?" + "a" * 200_000, X_Registry_Config="b" * 200_000)
    assert found.status == 200


async def test_no_swarm_and_no_plugins(client: Client) -> None:
    assert (await client.ask("GET", "/plugins")).json == []
    assert (await client.ask("GET", "/services")).status == 503
    assert (await client.ask("POST", "/swarm/init")).status == 501
    assert (await client.ask("GET", "/plugins/x/json")).status == 404
