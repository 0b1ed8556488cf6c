"""A build's cache between two engines with data roots of their own."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildkit.buildx import Buildx
from e2e.conftest import another
from e2e.ketchd_process import Ketchd
from e2e.registry_process import Registry
from e2e.test_e2e_build_outputs import build, inspected
from ketch.buildkit.messages import control
from ketch.engine.builder.cache.config import MEDIA_TYPE, decode
from ketch.engine.builder.contexts.layout_sent import SentLayout
from ketch.errors import DataCorrupt, KetchError

pytestmark = pytest.mark.root
TEXT = """FROM busybox AS first
RUN echo tools > /tools && echo more > /more
FROM busybox
ENV A=b
RUN cat /proc/sys/kernel/random/uuid > /once
COPY --from=first /tools /tools
RUN cat /proc/sys/kernel/random/uuid > /twice
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("caches") / "r") as registry:
        yield registry


@pytest.fixture
def other(ketchd: Ketchd) -> Iterator[Ketchd]:
    """Another engine with the same busybox and an empty cache."""
    with another(ketchd) as daemon:
        yield daemon


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "context"
    place.mkdir()
    (place / "Dockerfile").write_text(TEXT)
    return place


def image(daemon: Ketchd, *words: object) -> str:
    return build(daemon, "-q", *words).stdout.decode().strip()


@pytest.mark.parametrize("form", ["mode=max", "mode=max,image-manifest=false,compression=zstd"])
def test_through_a_registry(
    ketchd: Ketchd, other: Ketchd, folder: Path, registry: Registry, form: str
) -> None:
    ref = f"{registry.address}/cache:{len(form)}"
    first = image(ketchd, "--no-cache", "--cache-to", f"type=registry,ref={ref},{form}", folder)
    manifest = inspected(f"docker://{ref}")
    parts = [manifest["config"]] if "config" in manifest else manifest["manifests"]
    assert MEDIA_TYPE in [part["mediaType"] for part in parts]
    shown = build(other, "--cache-from", f"type=registry,ref={ref}", folder).stderr.decode()
    assert shown.count(" CACHED") == 5
    assert image(other, "--cache-from", ref, folder) == first
    assert image(other, folder) != first  # what is not named is not trusted


def test_through_a_directory(ketchd: Ketchd, other: Ketchd, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "cache"
    words = ("--cache-from", f"type=local,src={place}")
    first = image(ketchd, "--no-cache", "--cache-to", f"type=local,dest={place},mode=max", folder)
    index = json.loads((place / "index.json").read_text())
    assert index["manifests"][0]["annotations"] == {"org.opencontainers.image.ref.name": "latest"}
    assert image(other, *words, folder) == first
    for blob in (place / "blobs/sha256").iterdir():  # damaged: said, and done without
        blob.write_bytes(b"x" * blob.stat().st_size)
    done = build(other, *words, folder)
    assert "the cache can't be taken from local" in done.stderr.decode()


def test_inline_in_the_image(
    ketchd: Ketchd, other: Ketchd, folder: Path, registry: Registry
) -> None:
    name = f"{registry.address}/app:1"
    build(ketchd, "--no-cache", "--push", "-t", name, "--cache-to", "type=inline", folder)
    nothing = ("-o", "type=cacheonly", "--cache-to", "type=inline,mode=max")
    told = build(ketchd, *nothing, folder).stderr.decode()
    assert "type=inline: mode=max has no effect" in told
    assert "type=inline: there is no image among the outputs" in told
    shown = build(other, "-t", "again:1", "--cache-from", name, folder).stderr.decode()
    assert shown.count(" CACHED") == 4  # the first stage's layer is not in the image
    layers = "{{json .RootFS.Layers}}"
    other.docker("pull", name)
    assert other.out("image", "inspect", "-f", layers, "again:1") == other.out(
        "image", "inspect", "-f", layers, name
    )
    by_docker = other.out("build", "--cache-from", name, str(folder))
    assert by_docker.count("Using cache") == 5
    other.docker(
        "tag", name, "here-only:1"
    )  # as with Docker, no registry is asked for what is here
    other.docker("builder", "prune", "-af")
    here = build(other, "--cache-from", "here-only:1", folder).stderr.decode()
    assert here.count(" CACHED") == 4
    assert "can't be taken" not in here


async def test_as_buildx_asks(
    ketchd: Ketchd, other: Ketchd, folder: Path, registry: Registry
) -> None:
    place = [control.Attributes(Type="registry", Attrs={"ref": f"{registry.address}/bx:1"})]
    answers = []
    for daemon in (ketchd, other):
        client = Buildx(str(daemon.socket))
        client.directories = {"context": folder, "dockerfile": folder}
        caches = control.CacheOptions(Imports=place)
        if daemon is ketchd:
            caches = control.CacheOptions(
                Exports=[
                    control.Attributes(Type=e.Type, Attrs={**e.Attrs, "mode": "max"}) for e in place
                ]
            )
        async with client.connected():
            outcome = await client.build({}, Cache=caches)
        answers.append(outcome.response["containerimage.config.digest"])
    assert json.loads(outcome.response.get("cache.manifest", "{}")) == {}
    assert answers[0] == answers[1]


def test_docker_and_ketch_share_a_cache(ketchd: Ketchd, folder: Path) -> None:
    build(ketchd, "--no-cache", folder)
    assert ketchd.out("build", str(folder)).count("Using cache") == 5


def test_a_check_looks_at_a_base_in_its_registry(
    ketchd: Ketchd, folder: Path, registry: Registry
) -> None:
    """Only its configuration: nothing is pulled."""
    name = f"{registry.address}/base"
    (folder / "Dockerfile").write_text("FROM busybox\nENV THERE=1\n")
    build(ketchd, "--push", "-t", f"{name}:1", folder)
    ketchd.docker("rmi", f"{name}:1", code=None)
    text = f"ARG V=1\nFROM {name}:$V\nENV A=$THERE B=$THEER\nFROM {name}:none\nENV C=$D\n"
    (folder / "Dockerfile").write_text(text)
    done = build(ketchd, "--check", folder, code=1).stdout.decode()
    assert "Check complete, 1 warning found!" in done
    assert "$THEER' (did you mean $THERE?)" in done
    assert ketchd.out("images", "-q", name) == ""


def test_a_source_that_is_not_there(ketchd: Ketchd, folder: Path, registry: Registry) -> None:
    missing = f"{registry.address}/none/such"
    (folder / "Dockerfile").write_text(f"{TEXT}RUN echo {missing}\n")
    done = build(ketchd, "--cache-from", missing, folder)
    assert "the cache can't be taken from" in done.stderr.decode()
    bad = f"type=registry,ref={registry.address}:99999/x"
    assert build(ketchd, "--cache-to", bad, folder, code=None).returncode
    build(ketchd, "--cache-to", "type=registry,ref=127.0.0.1:1/x,ignore-error=true", folder)
    failed = build(ketchd, "--cache-to", "type=registry,ref=127.0.0.1:1/x", folder, code=None)
    assert failed.returncode


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--cache-to", "type=gha"), "the type 'gha' is not supported"),
        (("--cache-to", "type=registry,ref=a,mode=most"), "mode='most' is not min or max"),
        (("--cache-to", "type=registry"), "type=registry needs ref="),
        (("--cache-from", "type=registry,ref=a,b=c"), "the attribute 'b' of type 'registry'"),
        (("--cache-from", "type=local"), "type=local needs src="),
    ],
)
def test_what_is_refused(ketchd: Ketchd, folder: Path, words: tuple[str, ...], said: str) -> None:
    done = build(ketchd, *words, folder, code=None)
    assert done.returncode
    assert said in done.stderr.decode()


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"{", b'{"layers": 1}',
        b'{"records": [{"digest": "x", "layers": [{"layer": 0}]}]}',
        b'{"records": [{"digest": "sha256:0", "layers": [{"layer": -1}]}]}',
    ],
)  # fmt: skip
def test_hostile_descriptions(text: bytes) -> None:
    with pytest.raises(DataCorrupt):
        decode(text)


async def test_hostile_directories(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar"
    archive.write_bytes(b"no tar" * 1000)
    with pytest.raises(KetchError):
        await SentLayout(str(archive)).document("latest", "")
    with tarfile.open(archive, "w") as tar:
        link = tarfile.TarInfo("index.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(KetchError):
        await SentLayout(str(archive)).document("latest", "")


def test_what_the_cache_holds_and_what_goes(ketchd: Ketchd, tmp_path: Path) -> None:
    """By ``system df`` and ``builder prune``: steps, and the directories of cache mounts."""
    ketchd.docker("builder", "prune", "-af")
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nRUN --mount=type=cache,target=/c head -c 300000 /dev/urandom > /c/x\n"
        "RUN head -c 200000 /dev/urandom > /y\n"
    )
    build(ketchd, "-t", "gc:1", tmp_path)

    def held() -> dict[str, int]:
        text = ketchd.out("system", "df", "-v", "--format", "{{json .BuildCache}}")
        return {found["CacheType"]: int(found["InUse"] == "true") for found in json.loads(text)}

    assert set(held()) == {"regular", "exec.cachemount"}
    kept = ketchd.out("builder", "prune", "-f", "--keep-storage", "100MB")
    assert "Total:\t0B" in kept or kept.endswith("0B")
    ketchd.docker("builder", "prune", "-f", "--filter", "until=1h")
    assert set(held()) == {"regular", "exec.cachemount"}
    freed = ketchd.out("builder", "prune", "-f", "--filter", "type=exec.cachemount")
    assert "30" in freed.splitlines()[-1]  # kilobytes
    assert set(held()) == {"regular"}
    ketchd.docker("rmi", "gc:1")
    ketchd.docker("builder", "prune", "-af")
    assert held() == {}


def test_look_alikes_and_edits_of_the_configuration_are_misses(
    ketchd: Ketchd, tmp_path: Path
) -> None:
    """Another image under the base's name and with its history; HEALTHCHECK and ONBUILD edited
    (scorecard A13)."""

    def imported(text: str) -> None:
        """Alike in all but one file."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, data, mode in (("bin/sh", shell, 0o755), ("which", text.encode(), 0o644)):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(data), mode
                tar.addfile(entry, io.BytesIO(data))
        ketchd.docker("import", "-m", "same", "-", "alike:1", input=out.getvalue())

    def made(*lines: str) -> tuple[str, Any]:
        text = "\n".join(["FROM alike:1", *lines, "RUN read x < /which; echo $x > /copy"])
        (tmp_path / "Dockerfile").write_text(text)
        build(ketchd, "-t", "made:1", tmp_path)
        config = json.loads(ketchd.out("image", "inspect", "-f", "{{json .Config}}", "made:1"))
        shown = "read x < /copy; echo $x"
        return ketchd.out("run", "--rm", "made:1", "/bin/sh", "-c", shown), config

    shell = Path("/bin/busybox").read_bytes()
    for content in ("one", "two"):
        imported(content)
        assert made()[0] == content
    for word in ("a", "b"):
        edits = (f"HEALTHCHECK CMD {word}", f"ONBUILD RUN {word}")
        found, config = made(*edits)
        assert found == "two"
        assert config["Healthcheck"]["Test"][-1] == word
        assert config["OnBuild"] == [f"RUN {word}"]
    ketchd.docker("rmi", "-f", "made:1", "alike:1")
