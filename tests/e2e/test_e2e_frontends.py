"""Front ends that are images: by ``# syntax=``, by a build argument, asked for by a client."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from buildkit.buildx import Buildx
from e2e.buildx_client import Buildx as RealBuildx
from e2e.buildx_client import buildx  # noqa: F401 (a fixture)
from e2e.frontend_client import Bridge, playing
from e2e.ketchd_process import Ketchd
from ketch.buildkit.messages import gateway
from llb.graphs import action, copy, definition, files, image, mkfile, run, source

pytestmark = pytest.mark.root
BUSYBOX = image("busybox")


async def test_a_front_end_reads_solves_and_returns(
    ketchd: Ketchd,
    buildx: RealBuildx,  # noqa: F811
    tmp_path: Path,
) -> None:
    seen: list[Bridge] = []

    async def play(bridge: Bridge) -> None:
        seen.append(bridge)
        pong = await bridge.call("Ping", gateway.PingRequest(), gateway.PongResponse)
        assert {"mergeop", "diffop", "exec.meta.base"} <= {cap.ID for cap in pong.LLBCaps}
        request = gateway.ResolveImageConfigRequest(Ref="docker.io/library/busybox:latest")
        resolved = await bridge.call(
            "ResolveImageConfig", request, gateway.ResolveImageConfigResponse
        )
        config = json.loads(resolved.Config)
        assert config["os"] == "linux"
        name = bridge.options["filename"]
        text = await bridge.read(await bridge.solve(definition(source("local://dockerfile"))), name)
        made = run(BUSYBOX, f"echo {text.decode().splitlines()[1]} >/made")
        whole = files(
            [action(0, 0, 1, copy=copy("/file", "/file"))], made, source("local://context")
        )
        ref = await bridge.solve(definition(whole))
        config["config"]["Labels"] = {"a": bridge.options["build-arg:A"]}
        await bridge.give(ref, containerimage__config=json.dumps(config).encode())

    (tmp_path / "Dockerfile").write_text("# syntax=fe.example/mine:1 more words\nhello world\n")
    (tmp_path / "file").write_text("of the context\n")
    before = buildx.docker("buildx", "history", "ls").stdout
    async with playing(ketchd, "fe.example/mine:1", play):
        words = ["--build-arg", "A=b", "-t", "by-front-end", str(tmp_path)]
        built = await run_in_thread(buildx, *words)
    (bridge,) = seen
    assert bridge.env["MINE"] == "yes"
    assert bridge.env["BUILDKIT_EXPORTEDPRODUCT"] == "docker"
    assert json.loads(bridge.env["BUILDKIT_WORKERS"])[0]["ID"] == "ketch"
    assert bridge.options["source"] == "fe.example/mine:1"
    assert bridge.options["cmdline"] == "fe.example/mine:1 more words"
    assert int(bridge.env["metadata"]) > 50
    assert "echo hello world" in built
    (found,) = json.loads(ketchd.out("image", "inspect", "by-front-end"))
    assert found["Config"]["Labels"] == {"a": "b"}
    out = ketchd.out("run", "--rm", "by-front-end", "cat", "/made", "/file")
    assert out.split("\n") == ["hello world", "of the context"]
    words = ("history", "inspect", "attachment", "--type", "provenance")
    told = json.loads(buildx.docker("buildx", *words).stdout)
    assert told["invocation"]["parameters"]["frontend"] == "gateway.v0"
    assert {"name": "context"} in told["invocation"]["parameters"]["locals"]
    after = buildx.docker("buildx", "history", "ls").stdout
    assert after.count("Completed") == before.count("Completed") + 1


async def run_in_thread(client: RealBuildx, *words: str, code: int = 0) -> str:
    done = await asyncio.to_thread(client.build, *words, code=code)
    return done.stderr


async def test_front_ends_that_fail(
    ketchd: Ketchd,
    buildx: RealBuildx,  # noqa: F811
    tmp_path: Path,
) -> None:
    async def play(bridge: Bridge) -> None:
        way = bridge.options["build-arg:WAY"]
        if way == "error":
            await bridge.fail("line 1: no such thing")
        elif way == "step":
            ref = await bridge.solve(definition(run(BUSYBOX, "echo said; exit 7")))
            await bridge.give(ref)

    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    for way, told in (
        ("error", "line 1: no such thing"),
        (
            "nothing",
            "the front end fe.example/bad:1 ended with exit code 0 and returned no result: told",
        ),
        ("step", 'process "sh -c echo said; exit 7" did not complete successfully: exit code: 7'),
    ):
        words = ["--build-arg", "BUILDKIT_SYNTAX=fe.example/bad:1", "--build-arg", f"WAY={way}"]
        async with playing(ketchd, "fe.example/bad:1", play):
            assert told in await run_in_thread(buildx, *words, str(tmp_path), code=1)


async def test_a_front_end_may_call_the_one_for_dockerfiles(ketchd: Ketchd, tmp_path: Path) -> None:
    """As programs do that translate something into a Dockerfile; offline, and asked for by name."""

    async def play(bridge: Bridge) -> None:
        inputs = await bridge.call("Inputs", gateway.InputsRequest(), gateway.InputsResponse)
        mine = inputs.Definitions["mine"]
        text = b"FROM busybox\nCOPY c /\nCOPY --from=other f /g\nENV A=b\n"
        made = definition(files([action(-1, mkfile=mkfile("/Dockerfile", text))]))
        context = definition(files([action(-1, mkfile=mkfile("/c", b"c\n"))]))
        ref = await bridge.solve(
            Frontend="dockerfile.v0",
            FrontendOpt={"context:other": "input:mine"},
            FrontendInputs={"dockerfile": made, "context": context, "mine": mine},
        )
        assert await bridge.read(ref, "/g") == b"f\n"
        await bridge.give(ref)

    labels = "LABEL moby.buildkit.frontend.caps=moby.buildkit.frontend.inputs"
    given = {"mine": definition(files([action(-1, mkfile=mkfile("/f", b"f\n"))]))}
    client = Buildx(str(ketchd.socket))
    async with playing(ketchd, "fe.example/other", play, labels), client.connected():
        asked = {"Frontend": "gateway.v0", "FrontendAttrs": {"source": "fe.example/other"}}
        outputs = [("moby", {"name": "translated"})]
        outcome = await client.graph(None, outputs, FrontendInputs=given, **asked)
        assert outcome.response["image.name"].endswith("translated:latest")
        unknown = await client.graph(None, (), Frontend="gateway.v0", FrontendAttrs={
            "source": "fe.example/other", "frontend.caps": "moby.other"})  # fmt: skip
        assert unknown.error == "unsupported frontend capability moby.other"
    (found,) = json.loads(ketchd.out("image", "inspect", "translated"))
    assert "A=b" in found["Config"]["Env"]
