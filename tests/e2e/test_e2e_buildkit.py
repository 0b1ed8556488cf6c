"""BuildKit's API on the daemon's own socket, through a client that behaves as buildx does."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
import time
from base64 import b64decode
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from buildkit.buildx import Buildx
from e2e.ketchd_process import Ketchd
from e2e.unix_http import UnixConnection
from ketch.buildkit.messages import control, gateway, session

pytestmark = pytest.mark.root


@pytest.fixture
def buildx(ketchd: Ketchd, tmp_path: Path) -> Buildx:
    """With an empty context; the Dockerfile is written by ``dockerfile``."""
    client = Buildx(str(ketchd.socket))
    folder = tmp_path / "context"
    folder.mkdir()
    client.directories = {"context": folder, "dockerfile": folder}
    return client


def dockerfile(client: Buildx, text: str, name: str = "Dockerfile") -> Path:
    folder = client.directories["context"]
    (folder / name).write_text(text)
    return folder


async def test_probes_of_buildx(buildx: Buildx) -> None:
    """What it asks before the first build: workers, and an empty build with a ping."""
    for native in (False, True):
        async with buildx.connected(native=native):
            workers = await buildx.call(
                "/moby.buildkit.v1.Control/ListWorkers",
                control.ListWorkersRequest(),
                control.ListWorkersResponse,
            )
            assert workers.record[0].platforms[0].OS == "linux"
            solve = buildx.call(
                "/moby.buildkit.v1.Control/Solve",
                control.SolveRequest(Ref=f"probe-{native}-{time.time_ns()}"),
                control.SolveResponse,
            )
            probing = asyncio.create_task(solve)
            await asyncio.sleep(0)
            await probing_ping(buildx, probing)


async def probing_ping(buildx: Buildx, probing: asyncio.Task[object]) -> None:
    ref = f"ping-{time.time_ns()}"
    request = control.SolveRequest(Ref=ref)
    solve = asyncio.create_task(
        buildx.call("/moby.buildkit.v1.Control/Solve", request, control.SolveResponse)
    )
    bridge = "/moby.buildkit.v1.frontend.LLBBridge/"
    pong = await buildx.call(bridge + "Ping", gateway.PingRequest(), gateway.PongResponse, ref)
    assert "solve.base" in [cap.ID for cap in pong.FrontendAPICaps if cap.Enabled]
    await buildx.call(bridge + "Return", gateway.ReturnRequest(), gateway.ReturnResponse, ref)
    assert (await asyncio.wait_for(solve, 60)).ExporterResponse == {}
    probing.cancel()
    await asyncio.gather(probing, return_exceptions=True)


async def test_what_follows_the_preface_at_once_is_read_in_order(buildx: Buildx) -> None:
    for _ in range(30):
        async with buildx.connected(native=True):
            await buildx.call(
                "/moby.buildkit.v1.Control/Info", control.InfoRequest(), control.InfoResponse
            )


async def test_build_with_a_context(ketchd: Ketchd, buildx: Buildx) -> None:
    folder = dockerfile(
        buildx, 'FROM busybox\nCOPY . /src/\nRUN cat /src/deep/a.txt && echo oops >&2\nCMD ["x"]\n'
    )
    (folder / "deep").mkdir()
    (folder / "deep/a.txt").write_text("content\n")
    (folder / "secret.key").write_text("never sent")
    (folder / ".dockerignore").write_text("*.key\n")
    (folder / "link").symlink_to("deep/a.txt")
    (folder / "big").write_bytes(bytes(range(256)) * 4096)
    async with buildx.connected():
        outcome = await buildx.build({"build-arg:x": "1"}, {"name": "docker.io/library/bk:1"})
    assert "content\n" in outcome.logs
    assert "oops\n" in outcome.logs
    assert "secret.key" not in buildx.sent
    assert "[internal] load build context" in outcome.names()
    assert any(name.startswith("[2/3] COPY . /src/") for name in outcome.names())
    assert not any("CMD" in name for name in outcome.names())
    image = outcome.response["containerimage.digest"]
    assert ketchd.out("image", "inspect", "-f", "{{.Id}}", "bk:1") == image
    listed = ketchd.out("run", "--rm", "bk:1", "ls", "-A", "/src").split()
    assert sorted(listed) == [".dockerignore", "Dockerfile", "big", "deep", "link"]
    assert ketchd.out("run", "--rm", "bk:1", "wc", "-c", "/src/big").split()[0] == "1048576"
    ketchd.docker("rmi", "bk:1")


async def test_second_build_is_cached(buildx: Buildx) -> None:
    dockerfile(buildx, "FROM busybox\nRUN echo cached > /c\n")
    async with buildx.connected():
        first = await buildx.build({})
        second = await buildx.build({})
        third = await buildx.build({"no-cache": ""})
    assert first.response == second.response
    step = "[2/2] RUN echo cached > /c"
    assert step in second.cached()
    assert step not in third.cached()


async def test_secrets_and_accounts_come_from_the_session(buildx: Buildx) -> None:
    buildx.secrets = {"token": b"s3cret"}
    dockerfile(
        buildx,
        "FROM busybox\nRUN --mount=type=secret,id=token test $(cat /run/secrets/token) = s3cret\n",
    )
    async with buildx.connected():
        outcome = await buildx.build({})
    assert outcome.response
    assert ("secret", "token") in buildx.asked
    dockerfile(buildx, "FROM localhost:1/none/such:1\n")
    async with buildx.connected():
        outcome = await buildx.build({})
    assert "localhost:1/none/such:1" in outcome.error
    assert ("credentials", "localhost:1") in buildx.asked


async def test_a_failing_step(buildx: Buildx) -> None:
    dockerfile(buildx, "FROM busybox\nRUN echo before && exit 3\n")
    async with buildx.connected():
        outcome = await buildx.build({})
    assert "exit code: 3" in outcome.error
    assert "before\n" in outcome.logs
    failed = [vertex for vertex in outcome.vertexes if vertex.error]
    assert [vertex.name for vertex in failed] == ["[2/2] RUN echo before && exit 3"]


@pytest.mark.parametrize(
    ("text", "attrs", "said"),
    [
        ("FROM busybox\nBOGUS x\n", {}, "unknown instruction: BOGUS"),
        ("FROM busybox\n", {"filename": "missing"}, "open missing: no such file or directory"),
        ("FROM busybox\n", {"bogus": "1"}, "'bogus' of the Dockerfile front end is not supported"),
        ("FROM busybox\n", {"target": "zz"}, 'target stage "zz" could not be found'),
        ("FROM busybox\nCOPY missing /\n", {}, "missing"),
    ],
)
async def test_what_is_wrong(buildx: Buildx, text: str, attrs: dict[str, str], said: str) -> None:
    dockerfile(buildx, text)
    async with buildx.connected():
        outcome = await buildx.build(attrs)
    assert said in outcome.error


async def test_solve_without_a_driver(ketchd: Ketchd, buildx: Buildx) -> None:
    """``buildctl`` names the front end in Solve itself."""
    dockerfile(buildx, "FROM busybox\nLABEL a=b\n", "Other")
    async with buildx.connected(native=True), buildx.session() as session:
        request = control.SolveRequest(
            Ref=f"direct-{time.time_ns()}",
            Session=session,
            Frontend="dockerfile.v0",
            FrontendAttrs={"filename": "Other", "label:c": "d"},
            Exporters=[control.Attributes(Type="image", Attrs={"name": "direct:1"})],
        )
        found = await buildx.call("/moby.buildkit.v1.Control/Solve", request, control.SolveResponse)
    assert found.ExporterResponse["image.name"] == "docker.io/library/direct:1"
    assert ketchd.out("image", "inspect", "-f", "{{json .Config.Labels}}", "direct:1") == (
        '{"a":"b","c":"d"}'
    )
    ketchd.docker("rmi", "direct:1")


async def test_named_contexts_of_the_session(
    ketchd: Ketchd, buildx: Buildx, tmp_path: Path
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "readme").write_text("read me\n")
    buildx.directories["docs"] = docs
    dockerfile(buildx, "FROM base\nCOPY --from=docs readme /r\nRUN cat /r\n")
    async with buildx.connected():
        outcome = await buildx.build(
            {"context:docs": "local:docs", "context:base": "docker-image://busybox"}
        )
    assert outcome.response
    assert "read me\n" in outcome.logs


async def test_a_client_that_goes_ends_its_build(ketchd: Ketchd, buildx: Buildx) -> None:
    dockerfile(buildx, "FROM busybox\nRUN sleep 300\n")
    async with buildx.connected():
        building = asyncio.create_task(buildx.build({}))
        while not any(list(Path(place).glob("*/hosts")) for place in ketchd.unfinished()):
            await asyncio.sleep(0.05)
            assert not building.done()
        building.cancel()
        await asyncio.gather(building, return_exceptions=True)
    async with asyncio.timeout(60):
        while ketchd.unfinished():
            await asyncio.sleep(0.05)


async def test_unknown_methods(buildx: Buildx) -> None:
    async with buildx.connected():
        for path, told in (
            ("/x.Y/Z", "unknown service x.Y"),
            (
                "/moby.buildkit.v1.Control/Z",
                "unknown method Z for service moby.buildkit.v1.Control",
            ),
        ):
            with pytest.raises(GRPCError, match=told) as refused:
                await buildx.call(path, control.InfoRequest(), control.InfoResponse)
            assert refused.value.status is Status.UNIMPLEMENTED


async def test_health_and_workers(buildx: Buildx) -> None:
    health, listing = "/grpc.health.v1.Health/Check", "/moby.buildkit.v1.Control/ListWorkers"
    async with buildx.connected():
        for service in ("", "moby.buildkit.v1.Control", "moby.buildkit.v1.frontend.LLBBridge"):
            request = session.HealthCheckRequest(service=service)
            answer = await buildx.call(health, request, session.HealthCheckResponse)
            assert answer.status == 1
        request = session.HealthCheckRequest(service="x.Y")
        with pytest.raises(GRPCError) as refused:
            await buildx.call(health, request, session.HealthCheckResponse)
        assert refused.value.status is Status.NOT_FOUND

        async def found(*filters: str) -> int:
            request = control.ListWorkersRequest(filter=list(filters))
            answer = await buildx.call(listing, request, control.ListWorkersResponse)
            return len(answer.record)

        executor = "org.mobyproject.buildkit.worker.executor"
        for wanted in ("id==ketch", f'labels."{executor}"==ketch', f"labels.{executor}", "id~=^k"):
            assert await found(wanted) == 1
        assert await found("id!=ketch") == 0
        assert await found("labels.none") == 0
        assert await found("id==ketch,platform==linux/none") == 0
        assert await found("id==none", "platform~=^linux/") == 1
        with pytest.raises(GRPCError, match="is not supported") as refused:
            await found("name==x")
        assert refused.value.status is Status.INVALID_ARGUMENT


async def test_history(ketchd: Ketchd, buildx: Buildx) -> None:
    """``buildx history ls``, ``logs`` and ``rm``."""
    dockerfile(buildx, "FROM busybox\nRUN echo remembered\n")
    async with buildx.connected():
        await buildx.build({"no-cache": ""}, {"name": "remembered:1"})
        request = control.BuildHistoryRequest(EarlyExit=True, Limit=1)
        (event,) = await buildx.listen(request)
        record = event.record
        assert (event.type, record.numTotalSteps > 1) == (1, True)
        assert record.ExporterResponse["image.name"] == "remembered:1"
        logs = b"".join(log.msg for part in await buildx.status(record.Ref) for log in part.logs)
        assert logs == b"remembered\n"
        assert record.Result is not None
        assert record.logs is not None
        listing = "/containerd.services.content.v1.Content/List"
        request = session.ListContentRequest()
        listed = (await buildx.call(listing, request, session.ListContentResponse)).info
        named = [record.logs, *record.Result.Results.values(), *record.Result.Attestations]
        sizes = {blob.digest: blob.size for blob in listed}
        assert all(sizes[blob.digest] == blob.size for blob in named)
        await buildx.call(
            "/moby.buildkit.v1.Control/UpdateBuildHistory",
            control.UpdateBuildHistoryRequest(Ref=record.Ref, Delete=True),
            control.UpdateBuildHistoryResponse,
        )
        request = control.BuildHistoryRequest(EarlyExit=True, Ref=record.Ref)
        assert await buildx.listen(request) == []
    ketchd.docker("rmi", "remembered:1")


def archive_of(dockerfile: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        tar.addfile(entry, io.BytesIO(dockerfile))
    return archive.getvalue()


def test_a_context_in_the_request(ketchd: Ketchd) -> None:
    """``version=2`` without a session, as dockerode asks."""
    text = b"FROM busybox\nARG WORD\nRUN echo $WORD >/word; echo said\nENV A=b\n"

    def lines(query: str) -> list[dict[str, Any]]:
        connection = UnixConnection(str(ketchd.socket))
        connection.request("POST", f"/build?version=2&{query}", body=archive_of(text))
        with connection.getresponse() as response:
            return [json.loads(line) for line in response]

    *trace, last = lines("t=carried:2&nocache=1&" + urlencode({"buildargs": '{"WORD":"a word"}'}))
    assert {line["id"] for line in trace} == {"moby.buildkit.trace"}
    messages = [control.StatusResponse.decode(b64decode(line["aux"])) for line in trace]
    assert b"said\n" in {log.msg for message in messages for log in message.logs}
    assert last == {
        "id": "moby.image.id",
        "aux": {"ID": ketchd.out("image", "inspect", "-f", "{{.Id}}", "carried:2")},
    }
    assert ketchd.out("run", "--rm", "carried:2", "cat", "/word") == "a word"
    assert "session" in lines("remote=client-session")[0]["message"]
    connection = UnixConnection(str(ketchd.socket))
    connection.request("GET", "/ketch/builds")
    with connection.getresponse() as response:
        newest = json.load(response)[0]
    assert newest["Steps"] == 5  # definition, metadata, FROM, RUN, export: ENV and ARG are none
    ketchd.docker("rmi", "carried:2")


def test_a_build_is_canceled_by_its_name(ketchd: Ketchd) -> None:
    text = b"FROM busybox\nRUN echo at it; sleep 300\n"
    connection = UnixConnection(str(ketchd.socket))
    connection.request("POST", "/build?version=2&buildid=b&nocache=1", body=archive_of(text))
    with connection.getresponse() as response:
        for line in response:
            found = json.loads(line)
            if "aux" in found and b"at it\n" in b64decode(found["aux"]):
                ending = UnixConnection(str(ketchd.socket))
                ending.request("POST", "/build/cancel?id=b")
                with ending.getresponse() as answer:
                    assert answer.status == 200
    assert found["error"] == "the build was canceled"
