"""A stage being built: the image so far and the key of its state."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ketch.build.dockerfile.ast import Instruction
from ketch.build.dockerfile.scope import GlobalScope, StageScope
from ketch.build.executor import BaseImage, CacheEntry, Executor
from ketch.build.progress.events import Report, Sink
from ketch.build.progress.wording import BuildKit, Classic
from ketch.build.request.epoch import epoch_of
from ketch.build.request.options import BuildOptions
from ketch.build.steps.image_config import image_id, timestamp, variables
from ketch.build.steps.needs import Needs
from ketch.oci.image import History, ImageConfig, RootFS, RunConfig, decode

_KEY_VERSION = b"ketch build step 3\0"
MakeLayer = Callable[[], Awaitable[str]]


class BuildContext(msgspec.Struct, frozen=True):
    """What all stages of one build share; ``clock`` gives the time of new steps."""

    executor: Executor
    needs: Needs
    options: BuildOptions
    scope: GlobalScope
    sink: Sink
    clock: Callable[[], str] = timestamp

    @property
    def words(self) -> Classic:
        """How steps are told."""
        return BuildKit() if self.options.buildkit else Classic()


class StageState:
    """The mutable state of one stage.

    ``image`` is the image so far; its ID stays that of the base until a step changes something.
    ``report`` is the vertex of the step under way.
    """

    def __init__(self, shared: BuildContext, base: BaseImage, report: Report) -> None:
        self.shared = shared
        self.report = report
        self.base = base
        self.image_id = base.id
        self.image: ImageConfig = decode(base.config)
        self.layers = list(base.layers)
        self.scope = StageScope(shared.scope)
        self.cmd_set = False
        self.reuse = not shared.options.no_cache
        self.on_miss: Callable[[], Awaitable[None]] | None = None  # called once
        self._epoch = epoch_of(shared.options.build_args)

    @property
    def run(self) -> RunConfig:
        """The container configuration so far."""
        return self.image.run

    def fork(self, shared: BuildContext) -> StageState:
        """Another state with the same past, of a build that only looks."""
        other = copy.copy(self)
        other.shared = shared
        other.layers = list(self.layers)
        other.on_miss = None
        other.scope = self.scope.fork()
        other.report = Report(shared.sink, self.report.vertex)
        return other

    def change(self, **fields: Any) -> None:
        """Change fields of the container configuration."""
        run = msgspec.structs.replace(self.run, **fields)
        self.image = msgspec.structs.replace(self.image, config=run)

    def env(self) -> dict[str, str]:
        """The image's environment so far."""
        return variables(self.run)

    def known(self) -> set[str]:
        """Names of the variables and arguments that there are, with a value or without."""
        return {*self.env(), *self.scope.args}

    def variables(self) -> dict[str, str]:
        """What words are expanded with now."""
        return self.scope.variables(self.env())

    def key(self, identity: str) -> str:
        """The key of a step that runs something here: what it is and all that it can see.

        That is the layers below, the environment, the user and the directory. HEALTHCHECK and
        ONBUILD count as well: what follows an edit of them is never answered from the cache.
        Nothing else of the configuration goes in: it is made anew by every build. No name of an
        image and no history goes in, so that an image that only looks alike never matches.
        """
        run = msgspec.structs.replace(
            self._commands(),
            env=self.run.env,
            user=self.run.user,
            working_dir=self.run.working_dir or "/",
        )
        return self._key(run, identity)

    def _commands(self) -> RunConfig:
        """Commands that the configuration holds for later."""
        return RunConfig(healthcheck=self.run.healthcheck, on_build=self.run.on_build)

    def files_key(self, identity: str, *, bare: bool = False) -> str:
        """The key of a step that only puts files onto the layers below; ``bare``: whose layer
        does not depend on them either."""
        if bare:
            return self._key(RunConfig(), identity, [])
        return self._key(self._commands(), identity)

    def _key(self, run: RunConfig, identity: str, layers: list[str] | None = None) -> str:
        digest = hashlib.sha256(_KEY_VERSION)
        below = self.layers if layers is None else layers
        facts = (below, run, self.image.os, self.image.architecture, identity)
        digest.update(msgspec.json.encode(facts, order="deterministic"))
        if self._epoch is not None:  # files of the layer are not younger
            digest.update(f" before {self._epoch}".encode())
        return "sha256:" + digest.hexdigest()

    async def commit(self, key: str, created_by: str, make: MakeLayer | None = None) -> None:
        """End a step: take it from the cache by its key, or make its layer and remember it."""
        shared = self.shared
        self.report.below = self.layers[-1] if self.layers else ""

        async def entry() -> CacheEntry:
            await self._missed()
            layer = await make() if make is not None else ""
            return CacheEntry(layer, shared.clock())

        found, hit = await shared.executor.outcome(key, entry, reuse=self.reuse, report=self.report)
        if hit:
            self.report.cached()
        self._append(found, created_by)

    async def _missed(self) -> None:
        """A step takes its time: who waits for that may begin."""
        if self.on_miss is not None:
            begin, self.on_miss = self.on_miss, None
            await begin()

    def _append(self, entry: CacheEntry, created_by: str) -> None:
        words = self.shared.words
        history = History(
            created=entry.created,
            created_by=created_by,
            author=self.image.author if words.author else "",
            comment=words.comment,
            empty_layer=not entry.layer,
        )
        if entry.layer:
            self.layers.append(entry.layer)
        self.image = msgspec.structs.replace(
            self.image,
            created=entry.created,
            history=[*(self.image.history or ()), *([history] if created_by else [])],
            rootfs=RootFS(diff_ids=list(self.layers)),
            docker_version="",
            comment="",
        )
        self.image_id = image_id(self.image)

    async def configure(
        self, instruction: Instruction, comment: str, buildkit: str | None = ""
    ) -> None:
        """End a step that only changed the configuration; ``comment`` is Docker's wording, and
        ``buildkit`` BuildKit's where that is another one (None: no entry in the history).

        The configuration is already changed, so the state's key holds the outcome.
        """
        key = self._key(self.run, f"config {instruction.name} {comment}")
        await self.commit(key, self.shared.words.configured(self.run, comment, buildkit))
