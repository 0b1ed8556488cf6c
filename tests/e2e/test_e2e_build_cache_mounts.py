"""Contents of cache mounts between engines, with the cache of a build."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from buildkit import content_store
from buildkit.buildx import Buildx
from e2e.conftest import another
from e2e.files_below import files_below
from e2e.ketchd_process import Ketchd
from e2e.registry_process import Registry
from e2e.test_e2e_build_outputs import build
from ketch.buildkit.messages import control

pytestmark = pytest.mark.root
MOUNT = "--mount=type=cache,id=pip,target=/c,mode=0700,uid=3"
FILLED = f"""FROM busybox
RUN {MOUNT} mkdir -p /c/deep && head -c 200000 /dev/urandom > /c/deep/wheel && \
    ln -sf deep/wheel /c/link && ln -f /c/deep/wheel /c/deep/twin
RUN --mount=type=cache,target=/other echo other > /other/x
"""
LOOKED = f"FROM busybox\nRUN {MOUNT} cmp /c/link /c/deep/twin && stat -c %a%u /c && echo found it\n"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("mounts") / "r") as registry:
        yield registry


@pytest.fixture(scope="module")
def second(ketchd: Ketchd) -> Iterator[Ketchd]:
    with another(ketchd) as daemon:
        yield daemon


@pytest.fixture
def other(second: Ketchd) -> Ketchd:
    """Another engine without a cache."""
    second.docker("builder", "prune", "-af")
    return second


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "context"
    place.mkdir()
    return place


def built(daemon: Ketchd, folder: Path, text: str, *words: object, code: int | None = 0) -> str:
    (folder / "Dockerfile").write_text(text)
    return build(daemon, *words, folder, code=code).stderr.decode()


def mounts(place: Path) -> list[Any]:
    """What the cache in a directory says of its mounts."""
    blobs = place / "blobs"
    manifest = json.loads((blobs / content_store.root(place).replace(":", "/")).read_text())
    config = json.loads((blobs / manifest["config"]["digest"].replace(":", "/")).read_text())
    listed = {part["digest"] for part in manifest["layers"]}
    found: list[Any] = config.get("ketchMounts", [])
    assert {mount["blob"]["digest"] for mount in found} <= listed
    return found


@pytest.mark.parametrize("form", ["", ",compression=zstd,image-manifest=false"])
def test_through_a_registry(
    ketchd: Ketchd, other: Ketchd, folder: Path, registry: Registry, form: str
) -> None:
    ref = f"{registry.address}/pip:{len(form)}"
    target = f"type=registry,ref={ref}{form}"
    built(ketchd, folder, FILLED, "--no-cache", "--cache-to", f"{target},cache-mounts=true")
    source = f"type=registry,ref={ref}"
    assert "a non-zero code" in built(other, folder, LOOKED, "--cache-from", source, code=None)
    other.docker("builder", "prune", "-af")
    shown = built(other, folder, LOOKED, "--cache-from", f"{source},cache-mounts=true")
    assert "importing cache mount pip" in shown
    assert "found it" in shown
    assert "7003" in shown
    listed = other.out("system", "df", "-v", "--format", "{{json .BuildCache}}")
    assert "cached mount pip" in listed
    assert "cached mount /other" not in listed  # no step wanted it


async def test_as_buildx_asks(ketchd: Ketchd, other: Ketchd, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "cache"
    client = Buildx(str(ketchd.socket))
    client.directories = {"context": folder, "dockerfile": folder}
    client.stores = {f"local:{place}": place}
    (folder / "Dockerfile").write_text(FILLED)
    target = {"dest": str(place), "cache-mounts": "pip"}
    exports = control.CacheOptions(Exports=[control.Attributes(Type="local", Attrs=target)])
    async with client.connected():
        made = await client.build({"no-cache": ""}, Cache=exports)
    content_store.put(place, json.loads(made.response["cache.manifest"]), "latest")
    assert [mount["id"] for mount in mounts(place)] == ["pip"]
    client = Buildx(str(other.socket))
    client.directories = {"context": folder, "dockerfile": folder}
    client.stores = {f"local:{place}": place}
    source = {"src": str(place), "digest": content_store.root(place), "cache-mounts": "1"}
    imports = control.CacheOptions(Imports=[control.Attributes(Type="local", Attrs=source)])
    (folder / "Dockerfile").write_text(LOOKED)
    async with client.connected():
        found = await client.build({}, Cache=imports)
    assert "found it" in found.logs


def test_what_goes_along_is_chosen(ketchd: Ketchd, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "cache"
    target = f"type=local,dest={place}"
    words = ("--cache-to", f'{target},"cache-mounts=/other,none"')
    shown = built(ketchd, folder, FILLED, "--no-cache", *words)
    assert "no step of the build has the cache mount 'none'" in shown
    assert [mount["id"] for mount in mounts(place)] == ["/other"]
    bounded = f"{target},cache-mounts=true,cache-mounts-max=100k"
    shown = built(ketchd, folder, FILLED, "--cache-to", bounded)  # every step is in the cache
    assert "the cache mount pip stays here: it has about 20" in shown
    assert [mount["id"] for mount in mounts(place)] == ["/other"]
    for text in ("cache-mounts-max=x", "cache-mounts-max=-1"):
        wrong = built(ketchd, folder, FILLED, "--cache-to", f"{target},{text}", code=None)
        assert "cache-mounts-max: invalid size" in wrong
    inline = built(ketchd, folder, FILLED, "--cache-to", "type=inline,cache-mounts=1", code=None)
    assert "'cache-mounts' of type 'inline' is not supported" in inline


def test_a_cache_keeps_what_no_step_used(
    ketchd: Ketchd, other: Ketchd, folder: Path, tmp_path: Path
) -> None:
    """Steps that came from the cache leave no directory, but the mounts go on with it."""
    first, next_ = tmp_path / "a", tmp_path / "b"
    everything = "mode=max,cache-mounts=true"
    built(
        ketchd, folder, FILLED, "--no-cache", "--cache-to", f"type=local,dest={first},{everything}"
    )
    again = tmp_path / "again"
    built(ketchd, folder, FILLED, "--cache-to", f"type=local,dest={again},{everything}")
    assert mounts(again) == mounts(first)  # the same contents are the same blobs
    shown = built(
        other, folder, FILLED,
        "--cache-from", f"type=local,src={first},cache-mounts=true",
        "--cache-to", f"type=local,dest={next_},{everything}",
    )  # fmt: skip
    assert shown.count(" CACHED") == 3
    assert mounts(next_) == mounts(first)


def test_what_a_machine_has_stays(
    ketchd: Ketchd, other: Ketchd, folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "cache"
    built(
        ketchd,
        folder,
        FILLED,
        "--no-cache",
        "--cache-to",
        f"type=local,dest={place},cache-mounts=1",
    )
    mine = f"FROM busybox\nRUN {MOUNT} echo mine > /c/mine\n"
    built(other, folder, mine)
    looked = f"FROM busybox\nRUN {MOUNT} ls /c\n"
    shown = built(other, folder, looked, "--cache-from", f"type=local,src={place},cache-mounts=1")
    assert " mine\n" in shown
    assert " deep\n" not in shown


def test_no_secret_goes_along(ketchd: Ketchd, folder: Path, tmp_path: Path) -> None:
    place, secret = tmp_path / "cache", tmp_path / "secret"
    secret.write_text("S3CRET-" * 100)
    text = f"""FROM busybox
RUN {MOUNT} --mount=type=secret,id=token,target=/c/conf/token,required \
    --mount=type=secret,id=token,env=TOKEN,required \
    grep -q S3CRET /c/conf/token && test -n "$TOKEN" && echo kept > /c/kept
"""
    words = (
        "--secret",
        f"id=token,src={secret}",
        "--cache-to",
        f"type=local,dest={place},mode=max,compression=zstd,cache-mounts=1",
    )
    built(ketchd, folder, text, *words)
    held = [unpacked(blob.read_bytes()) for blob in (place / "blobs/sha256").iterdir()]
    assert any(b"kept\n" in data for data in held)
    assert not any(b"S3CRET" in data for data in held)


def unpacked(data: bytes) -> bytes:
    if not data.startswith(b"\x28\xb5\x2f\xfd"):
        return data
    return zstandard.ZstdDecompressor().stream_reader(data).read()


def test_caches_that_begin_with_other_files_are_others(ketchd: Ketchd, folder: Path) -> None:
    """One ID, but ``from`` shows another state: BuildKit has a cache for each."""

    def text(seed: str, name: str) -> str:
        return f"""FROM busybox AS seed
RUN mkdir /s && echo {seed} > /s/seed
FROM busybox
RUN --mount=type=cache,id=based,from=seed,source=/s,target=/c cat /c/seed; ls /c; touch /c/{name}
"""

    assert " one\n" in built(ketchd, folder, text("one", "a"))
    shown = built(ketchd, folder, text("two", "b"))
    assert " two\n" in shown
    assert " a\n" not in shown
    shown = built(ketchd, folder, text("one", "c"))  # the first one again
    assert " one\n" in shown
    assert " a\n" in shown
    plain = "FROM busybox\nRUN --mount=type=cache,id=based,target=/c ls /c | wc -l\n"
    assert " 0\n" in built(ketchd, folder, plain)


class Forged:
    """A local cache whose one mount is an archive of our own."""

    def __init__(self, place: Path, archive: bytes, size: int, base: str = "") -> None:
        self.place = place
        blob = self._put(archive)
        media = "application/vnd.oci.image.layer.v1.tar"
        mount = {"id": "pip", "blob": {"mediaType": media, "digest": blob, "size": len(archive)}}
        config = json.dumps({"ketchMounts": [{**mount, "base": base, "size": size}]}).encode()
        described = {
            "mediaType": "application/vnd.buildkit.cacheconfig.v0",
            "digest": self._put(config),
            "size": len(config),
        }
        manifest = json.dumps(
            {"schemaVersion": 2, "config": described, "layers": [mount["blob"]]}
        ).encode()
        root = {"digest": self._put(manifest), "size": len(manifest)}
        kind = "application/vnd.oci.image.manifest.v1+json"
        content_store.put(place, {"mediaType": kind, **root}, "latest")

    def _put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = self.place / "blobs/sha256" / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return f"sha256:{digest}"


def archived(*entries: tarfile.TarInfo, content: bytes = b"") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for entry in entries:
            tar.addfile(entry, io.BytesIO(content) if entry.size else None)
    return out.getvalue()


def entry(name: str, link: str = "", size: int = 0) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size = size
    if link:
        found.type, found.linkname = tarfile.SYMTYPE, link
    return found


@pytest.mark.parametrize(
    ("archive", "size"),
    [
        (archived(entry("../../../escaped", size=3), content=b"bad"), 10240),
        (archived(entry("l", "/tmp"), entry("l/escaped-by-link", size=3), content=b"bad"), 10240),
        (archived(entry("whole", size=9000), content=bytes(9000)), 2000),  # more than it says
        (archived(entry("whole", size=9000), content=bytes(9000))[:5000], 10240),
        (b"no archive at all" * 100, 10240),
        (zstandard.compress(bytes(64 << 20)), 10240),  # a bomb
        (archived(entry("whole", size=9000), content=bytes(9000)), 5 << 30),  # too much for us
    ],
    ids=["dots", "link", "longer", "cut", "noise", "bomb", "large"],
)  # fmt: skip
def test_hostile_contents(
    other: Ketchd, folder: Path, tmp_path: Path, archive: bytes, size: int
) -> None:
    place = tmp_path / "cache"
    Forged(place, archive, size)
    mount = "--mount=type=cache,id=pip,target=/c"
    text = f"FROM busybox\nRUN {mount} ls -l /c | wc -l; echo done\n"
    shown = built(other, folder, text, "--cache-from", f"type=local,src={place},cache-mounts=1")
    assert "done" in shown
    assert not Path("/tmp/escaped-by-link").exists()
    assert not list(tmp_path.rglob("escaped*"))
    assert not [path for path in files_below(other.data) if path.name.startswith("escaped")]
    if len(archive) != 10240 or size != 10240:
        assert "begins without what it held" in shown
        assert " 1\n" in shown or " 0\n" in shown  # an empty directory
    built(other, folder, text.replace("done", "usable"))


def base_of(place: Path) -> str:
    """What the one cache mount of an exported cache begins with."""
    for path in (place / "blobs/sha256").iterdir():
        if b'"ketchMounts"' in (text := path.read_bytes()):
            return str(json.loads(text)["ketchMounts"][0]["base"])
    raise AssertionError("no cache mount was exported")


def test_a_link_for_the_file_that_a_cache_is(
    ketchd: Ketchd, other: Ketchd, folder: Path, tmp_path: Path
) -> None:
    """It would be mounted from wherever it leads to on the host, to be read and written."""
    host = tmp_path / "of-the-host"
    host.write_text("of the host")
    mount = "--mount=type=cache,id=pip,from=busybox,source=/etc/passwd,target=/c"
    text = f"FROM busybox\nRUN {mount} cat /c; echo overwritten > /c; echo done\n"
    words = f"type=local,dest={tmp_path / 'honest'},cache-mounts=1"
    built(ketchd, folder, text, "--no-cache", "--cache-to", words)
    archive = archived(entry("passwd", str(host)))
    Forged(tmp_path / "forged", archive, len(archive), base_of(tmp_path / "honest"))
    words = f"type=local,src={tmp_path / 'forged'},cache-mounts=1"
    shown = built(other, folder, text, "--cache-from", words)
    assert "it has no file passwd" in shown
    assert "of the host" not in shown
    assert host.read_text() == "of the host"
    assert "overwritten" in built(other, folder, text.replace("done", "kept"))


def test_no_cache_begins_cache_mounts_anew(ketchd: Ketchd, folder: Path) -> None:
    """As with Docker 28: once in a build; the next build finds what this one left."""
    mount = "--mount=type=cache,id=anew,target=/c"
    steps = "".join(
        f"RUN {mount} echo ${{N}}{step} >> /c/a && echo =$(cat /c/a)=\n" for step in "ab"
    )
    text = f"FROM busybox AS s\nARG N\n{steps}"
    for words, seen in (
        (("--build-arg", "N=1"), "=1a 1b="),
        (("--build-arg", "N=2", "--no-cache"), "=2a 2b="),
        (("--build-arg", "N=3"), "=2a 2b 3a 3b="),
        (("--build-arg", "N=4", "--no-cache-filter", "s"), "=4a 4b="),
    ):
        assert seen in built(ketchd, folder, text, *words)
