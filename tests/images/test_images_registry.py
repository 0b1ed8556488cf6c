"""Pull and push against Debian's docker-registry, with skopeo as an independent witness."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from images.image_rig import Registry, Rig, gather, skopeo, tar, words
from ketch.api.convert_progress import progress_json
from ketch.engine.images.values import Credentials
from ketch.errors import InvalidParameter, NotFound, Unauthorized, Unavailable

BASE = tar({"etc/os-release": b"NAME=test\n", "bin/sh": os.urandom(300_000)})
TOP = tar({"app/server": os.urandom(50_000)})
pytestmark = pytest.mark.skipif(
    not os.path.exists("/usr/bin/docker-registry"), reason="needs docker-registry"
)


async def pushed(rig: Rig, registry: Registry, name: str) -> str:
    await rig.make(BASE, TOP, tags=(f"{registry.host}/{name}",), cmd=["sh"], labels={"a": "b"})
    lines = await gather(rig.images.push(f"{registry.host}/{name}"))
    assert isinstance(lines[-1].aux["Size"], int)  # clients read it as a number
    return str(lines[-1].aux["Digest"])


async def test_push_and_pull_again(rig: Rig, registry: Registry, tmp_path: Path) -> None:
    pushed_digest = await pushed(rig, registry, "team/app:1")
    shown = json.loads(
        skopeo("inspect", "--tls-verify=false", f"docker://{registry.host}/team/app:1")
    )
    assert shown["Digest"] == pushed_digest
    assert shown["Labels"] == {"a": "b"}

    other = Rig(tmp_path / "other")
    name = f"{registry.host}/team/app:1"
    lines = await gather(other.images.pull(name))
    ours, theirs = rig.images.resolve(name), other.images.resolve(name)
    assert ours.id == theirs.id
    assert theirs.layers == ours.layers
    assert theirs.size == ours.size == 300_000 + 10 + 50_000
    assert theirs.tags == (name,)
    assert theirs.digests == (f"{registry.host}/team/app@{pushed_digest}",)
    assert other.snapshots.open_tar(theirs.layers[0]).read() == BASE
    said = words(lines)
    assert said[0] == "Pulling from team/app"
    assert progress_json(lines[0]) == {"status": "Pulling from team/app", "id": "1"}
    assert said.count("Pull complete") == said.count("Download complete") == 2
    assert said[-2] == f"Digest: {pushed_digest}"
    assert said[-1] == f"Status: Downloaded newer image for {name}"
    assert max(line.current for line in lines if line.status == "Downloading") > 300_000

    again = await gather(other.images.pull(name))
    assert words(again)[-1] == f"Status: Image is up to date for {name}"
    assert (
        words(again).count("Already exists") == 0
    )  # of an image that is there Docker says nothing


async def test_pushing_again_keeps_the_digest(rig: Rig, registry: Registry) -> None:
    first = await pushed(rig, registry, "twice:1")
    lines = await gather(rig.images.push(f"{registry.host}/twice:1"))
    assert lines[-1].aux["Digest"] == first
    assert words(lines).count("Layer already exists") == 2
    await rig.images.tag(f"{registry.host}/twice:1", f"{registry.host}/elsewhere:1")
    lines = await gather(rig.images.push(f"{registry.host}/elsewhere:1"))
    assert words(lines).count("Mounted from twice") == 2
    assert lines[-1].aux["Digest"] == first


async def test_pull_by_digest_survives_a_restart(
    rig: Rig, registry: Registry, tmp_path: Path
) -> None:
    found = await pushed(rig, registry, "bydigest:1")
    name = f"{registry.host}/bydigest@{found}"
    other = Rig(tmp_path / "other")
    await gather(other.images.pull(name))
    assert other.images.resolve(name).tags == ()
    again = Rig(tmp_path / "other")
    assert again.images.resolve(name).digests == (name,)
    assert again.images.config(again.images.resolve(name).id).run.cmd == ["sh"]


async def test_docker_hub_by_a_mirror(rig: Rig, registry: Registry, tmp_path: Path) -> None:
    await pushed(rig, registry, "library/ubuntu:22.04")
    other = Rig(tmp_path / "other", mirrors=(f"http://{registry.host}",))
    lines = await gather(other.images.pull("ubuntu:22.04"))
    assert words(lines)[0] == "Pulling from library/ubuntu"
    assert words(lines)[-1] == "Status: Downloaded newer image for ubuntu:22.04"
    assert other.images.resolve("ubuntu:22.04").tags == ("ubuntu:22.04",)


async def test_docker_schema_2_and_an_index(rig: Rig, registry: Registry, tmp_path: Path) -> None:
    await pushed(rig, registry, "oci:1")
    skopeo(
        "copy", "--format=v2s2", "--src-tls-verify=false", "--dest-tls-verify=false",
        f"docker://{registry.host}/oci:1", f"docker://{registry.host}/schema2:1",
    )  # fmt: skip
    other = Rig(tmp_path / "other")
    await gather(other.images.pull(f"{registry.host}/schema2:1"))
    image = other.images.resolve(f"{registry.host}/schema2:1")
    assert image.layers == rig.images.resolve(f"{registry.host}/oci:1").layers
    lines = await gather(other.images.push(f"{registry.host}/schema2:1"))
    assert f"{registry.host}/schema2@{lines[-1].aux['Digest']}" in image.digests


async def test_what_is_not_there(rig: Rig, registry: Registry) -> None:
    name = f"{registry.host}/no/such:1"
    with pytest.raises(NotFound) as caught:
        await gather(rig.images.pull(name))
    assert str(caught.value) == f'failed to resolve reference "{name}": {name}: not found'
    with pytest.raises(InvalidParameter, match="must be lowercase"):
        await gather(rig.images.pull("BAD"))
    with pytest.raises(NotFound, match="An image does not exist locally with the tag: x"):
        await gather(rig.images.push("x:1"))
    await pushed(rig, registry, "plat:1")
    with pytest.raises(NotFound, match="does not match the specified platform"):
        await gather(rig.images.pull(f"{registry.host}/plat:1", platform="linux/arm64"))


async def test_nobody_there(rig: Rig) -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1: Connection refused"):
        await gather(rig.images.pull("127.0.0.1:1/x:1"))
    assert rig.stored() == set()


HTPASSWD = "me:$2b$04$h4MymCi4Bko.2vjO/WGQhOC7fF/38O2yV7VstWmkOJWbq9BabuaeS\n"  # bcrypt of "secret"


@pytest.fixture
def guarded(tmp_path: Path):  # type: ignore[no-untyped-def]
    found = Registry(tmp_path / "guarded", htpasswd=HTPASSWD)
    yield found
    found.close()


async def test_basic_authentication(rig: Rig, guarded: Registry, tmp_path: Path) -> None:
    name = f"{guarded.host}/private:1"
    me = Credentials(username="me", password="secret")
    wrong = Credentials(username="me", password="guess")
    await rig.make(BASE, tags=(name,))
    for auth in (None, wrong):
        with pytest.raises(Unauthorized):
            await gather(rig.images.push(name, auth=auth))
    await gather(rig.images.push(name, auth=me))
    other = Rig(tmp_path / "other")
    for auth in (None, wrong):
        with pytest.raises(Unauthorized):
            await gather(other.images.pull(name, auth=auth))
    await gather(other.images.pull(name, auth=me))
    assert await rig.images.log_in(guarded.host, me) == ""
    with pytest.raises(Unauthorized):
        await rig.images.log_in(guarded.host, wrong)
