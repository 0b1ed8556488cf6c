"""A builder on the real launcher, snapshotter and database; only images and networks are fakes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import tarfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ketch.build.request.offers import Offers
from ketch.build.request.options import BuildOptions, BuildOutput
from ketch.engine.builder.builder import Builder
from ketch.engine.builder.contexts.source import TarSource
from ketch.engine.containers.parts import Config, Parts
from ketch.engine.containers.pool import Pool, Settings
from ketch.engine.containers.runtimes import Runtimes
from ketch.engine.containers.store import ContainerStore
from ketch.engine.events.events import Events
from ketch.engine.images.values import ImageRecord, NewImage
from ketch.engine.spec.seccomp_filters import SeccompFilters
from ketch.engine.tasks import Background
from ketch.errors import NotFound
from ketch.oci import image as oci_image
from ketch.oci import reference as references
from ketch.runtime import spawning
from ketch.runtime.remote import Launcher
from ketch.snapshots.erofs import ErofsSnapshotter
from ketch.state.database import Database

BUSYBOX = "/bin/busybox"
ENTRY = Path(os.environ.get("KETCH_TEST_LAUNCHER", spawning.ENTRY))
APPLETS = (
    *("sh", "cat", "echo", "ls", "mkdir", "rm", "sleep", "stat", "id", "env", "touch", "seq", "nc"),
    *("test", "grep", "wc", "tr", "cp", "ln", "find", "true", "false", "chmod", "sort", "head"),
)


NEEDS = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.access("/bin/busybox", os.X_OK), reason="needs busybox-static"),
]
"""Marks of tests that have a ``Bench``."""


class Images:
    """Images in memory, layers in the snapshotter."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.layers: dict[str, tuple[str, ...]] = {}
        self.names: dict[str, str] = {}
        self.roots: list[Callable[[], Iterable[str]]] = []

    def keep_layers(self, roots: Callable[[], Iterable[str]]) -> None:
        self.roots.append(roots)

    def resolve(self, ref: str, platform: str = "") -> ImageRecord:
        image = self.names.get(ref) or self.names.get(f"{ref}:latest") or ref
        if image not in self.blobs:
            raise NotFound(f"No such image: {ref}")
        return ImageRecord(id=image, layers=self.layers[image])

    def hold(self) -> contextlib.AbstractAsyncContextManager[None]:
        return contextlib.nullcontext()

    def empty_trash_soon(self) -> None:
        """It goes with the directory."""

    def config_blob(self, image_id: str) -> bytes:
        return self.blobs[image_id]

    def config(self, image_id: str) -> Any:
        return oci_image.decode(self.blobs[image_id])

    async def create(self, image: NewImage) -> ImageRecord:
        image_id = "sha256:" + hashlib.sha256(image.config).hexdigest()
        self.blobs[image_id], self.layers[image_id] = image.config, image.layers
        for tag in image.tags:
            self.names[references.parse(tag).tagged().familiar] = image_id
        return ImageRecord(id=image_id, layers=image.layers)

    async def pull(self, reference: str, **options: Any) -> AsyncIterator[Any]:
        raise NotFound(f"pull access denied for {reference}")
        yield

    async def collect_garbage(self) -> int:
        return 0

    def records(self) -> list[ImageRecord]:
        return [ImageRecord(id=id, layers=layers) for id, layers in self.layers.items()]

    def layer_size(self, diff_id: str) -> int:
        return 0


class Networks:
    """No network; the files of /etc."""

    def __init__(self) -> None:
        self.connected: set[str] = set()

    async def connect(self, record: Any, lease: Any) -> Any:
        for name in ("hosts", "hostname", "resolv.conf"):
            Path(record.bundle, name).write_text(f"{record.id[:12]}\n")
        self.connected.add(record.id)
        return SimpleNamespace(link=None, endpoints=(), ports=())

    async def disconnect(self, container_id: str, *, tell: bool = False) -> None:
        self.connected.discard(container_id)

    async def forget(self, record: Any) -> None:
        self.connected.discard(record.id)


class Bench:
    """Everything that a build needs, below one directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parent = f"/ketch-test-{uuid.uuid4().hex[:8]}"
        self.images, self.networks = Images(), Networks()
        self.outputs: list[BuildOutput] = []

    async def open(self) -> None:
        data, run = str(self.folder / "data"), str(self.folder / "run")
        self.snapshots = ErofsSnapshotter(data)
        os.makedirs(f"{run}/shims")
        self.launcher = await Launcher.ensure(run, ENTRY)
        self.database = Database(f"{data}/ketch.db")
        config = Config(data_root=data, exec_root=run, cgroup_parent=self.parent, pool_size=0)
        settings = Settings(size=0, cgroup_parent=self.parent)
        self.parts = Parts(
            config=config,
            store=ContainerStore(self.database),
            events=Events(self.database),
            images=self.images,  # type: ignore[arg-type]
            volumes=None,  # type: ignore[arg-type]
            networks=self.networks,  # type: ignore[arg-type]
            snapshots=self.snapshots,
            launcher=self.launcher,
            pool=Pool(self.launcher, self.networks, Background(), settings),  # type: ignore[arg-type]
            filters=SeccompFilters(f"{data}/seccomp"),
            runtimes=Runtimes(config.runtimes_folder, config.runtimes, config.default_runtime),
        )
        self.builder = Builder(self.parts, self.database)
        await self.builder.start()
        await self._add_busybox()

    async def _add_busybox(self) -> None:
        info = await asyncio.to_thread(self.snapshots.add_layer, io.BytesIO(_busybox()))
        config = (
            b'{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"],"Env":["PATH=/bin"]},'
            b'"rootfs":{"type":"layers","diff_ids":["%s"]}}' % info.diff_id.encode()
        )
        image = NewImage(config=config, layers=(info.diff_id,), tags=("busybox",))
        await self.images.create(image)

    async def close(self) -> None:
        await asyncio.gather(*self.builder._background._tasks, return_exceptions=True)
        await self.builder.close()
        pid = (await self.launcher.hello())["pid"]
        await self.launcher.shutdown()
        while os.path.exists(f"/proc/{pid}") and not is_zombie(pid):
            await asyncio.sleep(0.01)
        self.database.close()
        for path in Path("/sys/fs/cgroup").glob(f"*{self.parent}"):
            path.rmdir()

    async def build(
        self,
        text: str,
        files: dict[str, Any] | None = None,
        *,
        options: BuildOptions | None = None,
        offers: Offers | None = None,
        fails: bool = False,
        **more: Any,
    ) -> dict[str, Any]:
        """Build; the image's configuration and layers, or an AssertionError with the output.

        ``files`` maps to contents, or to ``("link", target)``.
        """
        self.outputs = []
        stream = context({"Dockerfile": text.encode(), **(files or {})})
        options = options or BuildOptions(**more)
        async for output in self.builder.build(TarSource(stream), options, offers):
            self.outputs.append(output)
        error = self.outputs[-1].error
        assert bool(error) == fails, self.text + error
        if error:
            return {}
        image = [output.aux for output in self.outputs if output.aux][-1]
        layers = self.images.layers[image]
        return {"id": image, "config": self.images.config(image), "layers": layers}

    @property
    def text(self) -> str:
        return "".join(output.stream for output in self.outputs)

    def names(self, layer: str) -> list[str]:
        """What is in a layer."""
        with self.snapshots.open_tar(layer) as raw, tarfile.open(fileobj=raw, mode="r|") as tar:
            return sorted(tar.getnames())

    def read(self, layer: str, name: str) -> bytes:
        """A file's content in a layer."""
        with self.snapshots.open_tar(layer) as raw, tarfile.open(fileobj=raw, mode="r:") as tar:
            file = tar.extractfile(name)
            assert file is not None
            return file.read()

    def members(self, layer: str) -> dict[str, tarfile.TarInfo]:
        with self.snapshots.open_tar(layer) as raw, tarfile.open(fileobj=raw, mode="r|") as tar:
            return {member.name: member for member in tar.getmembers()}

    def leftovers(self) -> list[str]:
        """What a build must not leave."""
        data = self.folder / "data"
        found = self.snapshots.unfinished("")
        found += [str(path) for path in (data / "snapshots").iterdir()]
        found += list(self.networks.connected)
        return found + [str(path) for path in (self.folder / "run" / "shims").iterdir()]


async def context(files: dict[str, Any]) -> AsyncIterator[bytes]:
    """A build context as a tar stream."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(data, tuple):
                info.type, info.linkname = tarfile.SYMTYPE, data[1]
                tar.addfile(info)
                continue
            info.size, info.mode, info.uid = len(data), 0o644, 1234
            tar.addfile(info, io.BytesIO(data))
    yield out.getvalue()


def _busybox() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        passwd = b"root:x:0:0::/root:/bin/sh\nguest:x:1000:100::/:/bin/sh\n"
        for name, data in (("etc/passwd", passwd), ("etc/group", b"root:x:0:\nguest:x:1001:\n")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def is_zombie(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
