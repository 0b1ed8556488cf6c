"""An executor that keeps everything in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

from ketch.build.executor import (
    BaseImage,
    CacheEntry,
    CopyPart,
    CopyStep,
    MakeEntry,
    RunOutcome,
    RunStep,
    StepMount,
    Tree,
)
from ketch.build.lint.telling import tell_findings
from ketch.build.prepared import prepare
from ketch.build.progress.classic import ClassicText
from ketch.build.progress.events import Event, Report, Vertex
from ketch.build.request.options import BuildOptions, BuildOutput
from ketch.build.solver import Built, solve
from ketch.errors import NotFound
from ketch.oci.image import ImageConfig, RootFS, decode, encode

PLATFORM = {
    "TARGETPLATFORM": "linux/amd64",
    "TARGETOS": "linux",
    "TARGETARCH": "amd64",
    "TARGETVARIANT": "",
    "BUILDPLATFORM": "linux/amd64",
}


def digest(*parts: object) -> str:
    return "sha256:" + hashlib.sha256(repr(parts).encode()).hexdigest()


class FakeExecutor:
    """Layers are digests of what made them; ``context`` maps names to contents."""

    def __init__(self) -> None:
        self.images: dict[str, BaseImage] = {}
        self.cache: dict[str, CacheEntry] = {}
        self.context: dict[str, bytes] = {"a.txt": b"a", "b.txt": b"b"}
        self.stored: dict[str, tuple[bytes, tuple[str, ...], str]] = {}
        self.tags: dict[str, str] = {}
        self.ran: list[RunStep] = []
        self.copied: list[CopyStep] = []
        self.pulled: list[tuple[str, str, bool]] = []
        self.trees: dict[str, dict[str, bytes]] = {}
        self.exit_codes: dict[str, int] = {}
        self.output: dict[str, str] = {}
        self.lost: set[str] = set()
        self.nonce = 0
        self.secrets: dict[str, bytes] = {}
        self.agents: set[str] = set()

    def add_image(self, name: str, config: ImageConfig | None = None, layer: str = "") -> BaseImage:
        config = config or ImageConfig(os="linux", architecture="amd64")
        layers = (digest("base", layer or name),)
        blob = encode(msgspec.structs.replace(config, rootfs=RootFS(diff_ids=list(layers))))
        image = BaseImage("sha256:" + hashlib.sha256(blob).hexdigest(), blob, layers)
        self.images[name] = image
        return image

    async def base(self, reference: str, platform: str, *, pull: bool, report: Report) -> BaseImage:
        self.pulled.append((reference, platform, pull))
        if reference not in self.images:
            raise NotFound(f"pull access denied for {reference}")
        return self.images[reference]

    def mounted(self, mounts: tuple[StepMount, ...]) -> None:
        """Nothing goes away from here."""

    async def outcome(
        self, key: str, make: MakeEntry, *, reuse: bool, report: Report
    ) -> tuple[CacheEntry, bool]:
        entry = self.cache.get(key) if reuse else None
        if entry is not None and entry.layer not in self.lost:
            return entry, True
        self.cache[key] = await make()
        return self.cache[key], False

    async def run(
        self, step: RunStep, started: Callable[[str], None], report: Report
    ) -> RunOutcome:
        self.ran.append(step)
        command = step.argv[-1]
        started(digest("container", len(self.ran))[7:])
        if command in self.output:
            report.output(1, self.output[command])
        code = self.exit_codes.get(command, 0)
        if code or command == "true":
            return RunOutcome(code, "")
        return RunOutcome(0, digest("run", step.layers, step.argv, self.nonce))

    async def exists(self, tree: Tree, path: str) -> bool:
        return path in self._files(tree)

    async def directories(self, layers: tuple[str, ...], path: str) -> list[tuple[int, int, int]]:
        return []

    async def checksum(self, part: CopyPart) -> str:
        tree, sources = part.tree, part.sources
        files = self._files(tree)
        if tree.kind == "layers":
            return digest(tree.layers, sources)
        for source in sources:
            if source != "." and source not in files:
                raise NotFound(f"stat {source}: file does not exist")
        found = [(s, sorted(files.items()) if s == "." else files[s]) for s in sources]
        kind = "multi" if len(sources) > 1 else "dir" if sources == (".",) else "file"
        return digest(found, part.excludes, part.parents).replace("sha256", kind)

    async def copy(self, step: CopyStep) -> str:
        self.copied.append(step)
        sums = [await self.checksum(part) for part in step.parts]
        return digest(
            "copy", () if step.link else step.layers, step.destination, step.owner, step.mode, sums
        )

    async def make_directory(self, layers: tuple[str, ...], path: str, owner: str = "") -> str:
        return "" if path == "/there" else digest("mkdir", layers, path)

    async def inline(self, files: tuple[tuple[str, bytes], ...]) -> Tree:
        return self._tree(dict(files))

    async def fetch(self, url: str, name: str, checksum: str) -> Tree:
        return self._tree({name: url.encode() + checksum.encode()})

    async def clone(self, url: str, checksum: str, *, keep_git_dir: bool, report: Report) -> Tree:
        return self._tree({".": f"{url} {checksum} {keep_git_dir}".encode()})

    async def unpacked(self, url: str, report: Report) -> Tree:
        return self._tree({".": url.encode()})

    async def secret(self, id: str) -> bytes | None:
        return self.secrets.get(id)

    async def has_agent(self, id: str) -> bool:
        return id in self.agents

    async def commit(
        self, config: bytes, layers: tuple[str, ...], parent: str, tags: tuple[str, ...] = ()
    ) -> str:
        image = "sha256:" + hashlib.sha256(config).hexdigest()
        self.stored[image] = (config, layers, parent)
        for tag in tags:
            self.tags[tag if ":" in tag else f"{tag}:latest"] = image
        return image

    def _tree(self, files: dict[str, bytes]) -> Tree:
        handle = str(len(self.trees))
        self.trees[handle] = files
        return Tree("fetched", handle=handle)

    def _files(self, tree: Tree) -> dict[str, bytes]:
        return self.context if tree.kind == "context" else self.trees.get(tree.handle, {})


class Build:
    """One build on a fake executor, and what came of it."""

    def __init__(
        self,
        executor: FakeExecutor,
        built: Built,
        outputs: list[BuildOutput],
        events: list[Event],
    ) -> None:
        self.events = events
        self.executor = executor
        self.built = built
        self.outputs = outputs
        config, self.layers, self.parent = executor.stored[built.image]
        self.config = decode(config)

    @property
    def text(self) -> str:
        return "".join(output.stream for output in self.outputs)

    @property
    def warnings(self) -> list[str]:
        return [output.warning for output in self.outputs if output.warning]

    @property
    def hits(self) -> int:
        return self.text.count(" ---> Using cache\n")

    def created_by(self) -> list[str]:
        return [line.created_by for line in self.config.history or ()]


async def build(
    executor: FakeExecutor,
    text: str,
    options: BuildOptions | None = None,
    outputs: list[BuildOutput] | None = None,
) -> Build:
    """Build the Dockerfile ``text``; every step gets a time of its own."""
    outputs = outputs if outputs is not None else []
    prepared = prepare(text.encode(), options or BuildOptions(), PLATFORM)
    executor.nonce += 1
    ticks = iter(range(10_000))

    def clock() -> str:
        return f"2026-01-01T{executor.nonce:02d}:00:{next(ticks):02d}Z"

    classic = ClassicText(quiet=prepared.options.quiet)

    def sink(event: Event) -> None:
        events.append(event)
        outputs.extend(classic.feed(event))

    events: list[Event] = []
    loading = Report(sink, Vertex(digest="loading", name="load build definition"))
    tell_findings(prepared, loading)
    loading.end()
    try:
        built = await solve(prepared, executor, sink, clock)
    finally:
        outputs.extend(classic.rest())
    outputs.extend(classic.closing(built.image, built.tags))
    return Build(executor, built, outputs, events)
