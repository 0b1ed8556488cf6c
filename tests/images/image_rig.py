"""Images over a real snapshotter, registry and archives, without a daemon."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from free_networks import free_port
from ketch.content.store import ContentStore
from ketch.content.threads import completed
from ketch.distribution.hosts import RegistrySettings
from ketch.engine.containers.record import ContainerRecord
from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.events.events import Events
from ketch.engine.images.images import Images
from ketch.engine.images.parts import ImageParts, ImageSettings
from ketch.engine.images.store import ImageStore
from ketch.engine.images.values import ImageRecord, NewImage
from ketch.engine.progress import Progress
from ketch.oci import image as images
from ketch.snapshots.directory import DirectorySnapshotter
from ketch.snapshots.erofs import ErofsSnapshotter
from ketch.snapshots.protocol import LayerInfo
from ketch.snapshots.tasks import ingest
from ketch.state.database import Database
from ketch.state.leases import Leases


class Rig:
    """One engine's images; ``containers`` may be filled by the test."""

    def __init__(self, root: Path, kind: str = "erofs", **registries: Any) -> None:
        root.mkdir(exist_ok=True)
        self.root = root
        self.kind = kind
        classes = {"erofs": ErofsSnapshotter, "directory": DirectorySnapshotter}
        self.snapshots = classes[kind](str(root))
        self.content = ContentStore(str(root))
        self.database = Database(str(root / "ketch.db"))
        self.events = Events(self.database)
        self.leases = Leases()
        self.containers: list[ContainerRecord] = []
        settings = RegistrySettings(certificates=str(root / "certs.d"), **registries)
        parts = ImageParts(
            settings=ImageSettings(registries=settings),
            store=ImageStore(self.database),
            content=self.content,
            leases=self.leases,
            snapshots=self.snapshots,
            ingest=self.ingest,
            events=self.events,
            containers=lambda: self.containers,
        )
        self.images = Images(parts)

    async def ingest(self, fd: int, diff_id: str) -> LayerInfo:
        args = {"root": str(self.root), "snapshotter": self.kind, "diff_id": diff_id}
        copy = os.dup(fd)
        try:
            result = await completed(ingest, args, [copy])  # a worker would be killed
        finally:
            os.close(copy)
        return msgspec.convert(result, LayerInfo)

    async def make(
        self, *layers: bytes, tags: tuple[str, ...] = ("test:1",), **config: Any
    ) -> ImageRecord:
        """An image of tars."""
        infos = [await asyncio.to_thread(self.snapshots.add_layer, io.BytesIO(t)) for t in layers]
        diff_ids = [info.diff_id for info in infos]
        document = images.ImageConfig(
            created=config.pop("created", "2024-01-02T03:04:05Z"),
            architecture="amd64",
            os="linux",
            config=images.RunConfig(**config),
            rootfs=images.RootFS(diff_ids=diff_ids),
            history=[images.History(created_by=f"layer {n}") for n in range(len(layers))],
        )
        new = NewImage(config=images.encode(document), layers=tuple(diff_ids), tags=tags)
        return await self.images.create(new)

    def container(self, image: ImageRecord, **changes: Any) -> ContainerRecord:
        record = ContainerRecord(
            id="c" * 64,
            name="c",
            created_at=1,
            image_id=image.id,
            layers=image.layers,
            spec=ContainerSpec(image=image.id),
            **changes,
        )
        self.containers.append(record)
        return record

    def stored(self) -> set[str]:
        """Everything that is on the disk but for the trash: blobs, layers, partials, scratch."""
        found = {digest for digest, _ in self.content.walk()}
        found |= {f"layer {layer}" for layer in self.snapshots.layers()}
        found |= {f"content/ingest/{name}" for name in os.listdir(self.root / "content/ingest")}
        return found | set(self.snapshots.unfinished(""))


def tar(files: dict[str, bytes]) -> bytes:
    """A layer of regular files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mtime = 1_700_000_000
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


async def pieces(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def gather(stream: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in stream]


def words(lines: list[Progress]) -> list[str]:
    return [line.status for line in lines]


class Registry:
    """Debian's docker-registry on a loopback port."""

    def __init__(self, root: Path, htpasswd: str = "") -> None:
        root.mkdir(exist_ok=True)
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.root = root
        auth = ""
        if htpasswd:
            (root / "htpasswd").write_text(htpasswd)
            auth = f"auth: {{htpasswd: {{realm: test, path: {root}/htpasswd}}}}\n"
        (root / "config.yml").write_text(
            "version: 0.1\nlog: {level: error}\n"
            f"storage: {{filesystem: {{rootdirectory: {root}/data}}, delete: {{enabled: true}}}}\n"
            f"http: {{addr: '{self.host}'}}\n{auth}"
        )
        self.process = subprocess.Popen(
            ["/usr/bin/docker-registry", "serve", str(root / "config.yml")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)  # nothing tells when a stranger's server listens
        raise RuntimeError("docker-registry does not listen")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.root, ignore_errors=True)


def skopeo(*args: str) -> str:
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *args], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
