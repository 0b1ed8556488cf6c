"""Patience, resuming, redirects and credentials."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from distribution.fake_registry import FakeRegistry
from images.image_rig import Rig, gather, tar, words
from ketch.distribution import connection
from ketch.distribution.challenge import Challenge, parse
from ketch.distribution.hosts import Endpoint, RegistrySettings
from ketch.engine.images.values import Credentials
from ketch.errors import Forbidden, InvalidParameter, KetchError, Unauthorized, Unavailable

LAYER = tar({"big": os.urandom(3 << 20)})
ME = Credentials(username="me", password="secret")


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(connection, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr("ketch.distribution.client._PAUSE", 0.001)
    return Rig(tmp_path / "data", kind="directory")


async def test_a_connection_that_breaks_is_taken_up_where_it_ended(rig: Rig) -> None:
    fake = FakeRegistry(LAYER)
    whole = fake.on_blob
    cuts = 0

    async def cutting(request: web.Request) -> web.StreamResponse:
        nonlocal cuts
        data = fake.blobs[request.match_info["digest"]]
        if len(data) < 1 << 20 or cuts == 2:
            return await whole(request)
        cuts += 1
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        response = web.StreamResponse(
            status=206 if start else 200,
            headers={
                "Content-Length": str(len(data) - start),
                "Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}",
            },
        )
        await response.prepare(request)
        await response.write(data[start : start + (1 << 20)])
        assert request.transport
        request.transport.close()
        return response

    fake.on_blob = cutting  # type: ignore[method-assign]
    async with fake.serving() as host:
        await gather(rig.images.pull(f"{host}/x:1"))
    ranges = [r.headers.get("Range", "") for r in fake.asked(fake.layers[0])]
    assert len(ranges) == 3
    assert ranges[0] == ""
    assert all(int(text[6:-1]) > 0 for text in ranges[1:])


async def test_an_interrupted_pull_is_resumed_by_the_next(rig: Rig) -> None:
    fake = FakeRegistry(LAYER)
    half = fake.blobs[fake.layers[0]][: 1 << 20]
    with rig.content.ingest(fake.layers[0], 5 << 20) as ingest:
        ingest.write(half)
    async with fake.serving() as host:
        await gather(rig.images.pull(f"{host}/x:1"))
    assert fake.asked(fake.layers[0])[0].headers["Range"] == f"bytes={1 << 20}-"


async def test_a_wrong_beginning_is_thrown_away(rig: Rig) -> None:
    fake = FakeRegistry(LAYER)
    with rig.content.ingest(fake.layers[0], 5 << 20) as ingest:
        ingest.write(b"something else")
    async with fake.serving() as host:
        await gather(rig.images.pull(f"{host}/x:1"))
    assert [r.headers.get("Range") for r in fake.asked(fake.layers[0])] == ["bytes=14-", None]


async def test_a_server_without_ranges(rig: Rig) -> None:
    fake = FakeRegistry(LAYER)
    with rig.content.ingest(fake.layers[0], 5 << 20) as ingest:
        ingest.write(fake.blobs[fake.layers[0]][:1000])

    async def plain(request: web.Request) -> web.StreamResponse:
        return web.Response(body=fake.blobs[request.match_info["digest"]])

    fake.on_blob = plain  # type: ignore[method-assign]
    async with fake.serving() as host:
        await gather(rig.images.pull(f"{host}/x:1"))


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_passing_failures_are_waited_out(rig: Rig, status: int) -> None:
    fake = FakeRegistry(LAYER)
    honest, failures = fake.on_manifest, iter(range(2))

    async def busy(request: web.Request) -> web.StreamResponse:
        if next(failures, None) is not None:
            return web.Response(status=status)
        return await honest(request)

    fake.on_manifest = busy  # type: ignore[method-assign]
    async with fake.serving() as host:
        lines = await gather(rig.images.pull(f"{host}/x:1"))
    assert words(lines)[-1].startswith("Status: Downloaded newer image")


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (429, Unavailable, "too many requests"),
        (403, Forbidden, "access denied"),
        (401, Unauthorized, "pull access denied"),
        (418, KetchError, "unexpected status 418"),
        (502, Unavailable, "failed with status 502"),
    ],
)
async def test_refusals(rig: Rig, status: int, kind: type[KetchError], text: str) -> None:
    fake = FakeRegistry(LAYER)

    async def no(request: web.Request) -> web.StreamResponse:
        body = {"errors": [{"code": "DENIED", "message": "no\x1b[31m!"}]}
        return web.json_response(body, status=status)

    fake.on_manifest = no  # type: ignore[method-assign]
    async with fake.serving() as host:
        with pytest.raises(kind, match=text) as caught:
            await gather(rig.images.pull(f"{host}/x:1"))
    assert "\x1b" not in str(caught.value)


async def test_tokens(rig: Rig) -> None:
    fake = FakeRegistry(LAYER)
    asked: list[Any] = []
    manifest, blob = fake.on_manifest, fake.on_blob

    def guarded(handler: Any) -> Any:
        async def guard(request: web.Request) -> web.StreamResponse:
            if request.path.startswith("/v2/token/"):
                asked.append((request.query.getall("scope"), request.headers["Authorization"]))
                return web.json_response({"token": "abc", "expires_in": 300})
            if request.headers.get("Authorization") != "Bearer abc":
                realm = f"http://{fake.host}/v2/token/manifests/x"
                challenge = f'Bearer realm="{realm}",service="s,t",scope="repository:team/x:pull"'
                return web.Response(status=401, headers={"WWW-Authenticate": challenge})
            return await handler(request)  # type: ignore[no-any-return]

        return guard

    fake.on_manifest, fake.on_blob = guarded(manifest), guarded(blob)  # type: ignore[method-assign]
    async with fake.serving() as host:
        await gather(rig.images.pull(f"{host}/team/x:1", auth=ME))
    assert asked == [(["repository:team/x:pull"], ME.basic)]


async def test_a_redirect_does_not_get_the_password(rig: Rig) -> None:
    fake, storage = FakeRegistry(LAYER), FakeRegistry(LAYER)
    manifest = fake.on_manifest

    async def basic(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != ME.basic:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return await manifest(request)

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == ME.basic
        raise web.HTTPTemporaryRedirect(f"http://{storage.host}{request.path}")

    fake.on_manifest, fake.on_blob = basic, elsewhere  # type: ignore[method-assign]
    async with fake.serving() as host, storage.serving():
        await gather(rig.images.pull(f"{host}/x:1", auth=ME))
    assert len(storage.seen) == 2
    assert not any("Authorization" in request.headers for request in storage.seen)


async def test_redirects_in_circles_and_to_files(rig: Rig) -> None:
    for target in ("", "file:///etc/passwd", "ftp://x/y", "."):
        fake = FakeRegistry(LAYER)

        async def circle(request: web.Request, target: str = target) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": target or request.path})

        fake.on_manifest = circle  # type: ignore[method-assign]
        async with fake.serving() as host:
            with pytest.raises(KetchError):
                await gather(rig.images.pull(f"{host}/x:1"))


async def test_a_mirror_that_lacks_the_image_is_passed_over(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty, full = FakeRegistry(LAYER), FakeRegistry(LAYER)

    async def nothing(request: web.Request) -> web.StreamResponse:
        raise web.HTTPNotFound

    empty.on_manifest = nothing  # type: ignore[method-assign]
    async with empty.serving() as first, full.serving() as second:
        mirrors = (f"http://{first}", "http://127.0.0.1:1", f"http://{second}/")
        other = Rig(tmp_path / "other", kind="directory", mirrors=mirrors)
        await gather(other.images.pull("me/app:1", auth=ME))
    assert len(empty.seen) == 1
    assert not any("Authorization" in request.headers for request in empty.seen + full.seen)
    assert other.images.resolve("me/app:1").tags == ("me/app:1",)


async def test_two_pulls_of_one_image_share_the_work(rig: Rig) -> None:
    import asyncio

    fake = FakeRegistry(LAYER)
    async with fake.serving() as host:
        pulls = [gather(rig.images.pull(f"{host}/x:1")) for _ in range(3)]
        await asyncio.gather(*pulls)
    assert len(fake.asked(fake.layers[0])) == 1


async def test_a_pull_that_is_left_stops(rig: Rig) -> None:
    fake = FakeRegistry(LAYER)
    async with fake.serving() as host:
        stream = rig.images.pull(f"{host}/x:1")
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        assert not rig.leases.held
        assert rig.images.records() == []
        await gather(rig.images.pull(f"{host}/x:1"))


def test_endpoints() -> None:
    settings = RegistrySettings(
        mirrors=("https://mirror.example",), insecure=("plain.example:80", "10.0.0.0/8")
    )
    hub, mirror = "https://registry-1.docker.io", "https://mirror.example"
    assert settings.endpoints("docker.io") == [Endpoint(mirror, True, True), Endpoint(hub)]
    assert settings.endpoints("ghcr.io") == [Endpoint("https://ghcr.io")]
    for host in ("localhost:5000", "127.0.0.1:5000", "[::1]:5000", "10.1.2.3", "plain.example:80"):
        assert settings.endpoints(host) == [
            Endpoint(f"https://{host}", False),
            Endpoint(f"http://{host}", False),
        ]
    assert settings.trusting("ghcr.io").endpoints("ghcr.io")[1] == Endpoint("http://ghcr.io", False)
    with pytest.raises(InvalidParameter, match="registry mirror"):
        RegistrySettings(mirrors=("mirror",)).endpoints("docker.io")


def test_challenges() -> None:
    assert parse(['Bearer realm="https://a/b",service="x, y",scope="r:a/b:pull,push"']) == [
        Challenge("bearer", {"realm": "https://a/b", "service": "x, y", "scope": "r:a/b:pull,push"})
    ]
    both = [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": 'q"q'})]
    assert parse(['Basic realm="x", Bearer realm="q\\"q"']) == both
    assert parse(["Negotiate"]) == [Challenge("negotiate")]
    assert parse(["", "===", '"']) == []
