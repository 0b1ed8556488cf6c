"""A stage being built: the image so far, the key of its state, and the log that clients see."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ketch.build.ast import Instruction
from ketch.build.config import image_id, shell_words, timestamp, variables
from ketch.build.executor import BaseImage, CacheEntry, Emit, Executor
from ketch.build.options import BuildOptions, BuildOutput
from ketch.build.scope import GlobalScope, StageScope
from ketch.oci.image import History, ImageConfig, RootFS, RunConfig, decode

_KEY_VERSION = b"ketch build step 1\0"
MakeLayer = Callable[[], Awaitable[str]]


class BuildContext(msgspec.Struct, frozen=True):
    """What all stages of one build share; ``clock`` gives the time of new steps."""

    executor: Executor
    options: BuildOptions
    scope: GlobalScope
    emit: Emit
    clock: Callable[[], str] = timestamp

    def say(self, text: str) -> None:
        """Write to the build's output."""
        self.emit(BuildOutput(stream=text))

    def warn(self, sentence: str) -> None:
        """Write a warning to the build's output."""
        self.emit(BuildOutput(warning=sentence))


class StageState:
    """The mutable state of one stage.

    ``image`` is the image so far; its ID stays that of the base until a step changes something.
    """

    def __init__(self, shared: BuildContext, base: BaseImage) -> None:
        self.shared = shared
        self.base = base
        self.image_id = base.id
        self.image: ImageConfig = decode(base.config)
        self.layers = list(base.layers)
        self.scope = StageScope(shared.scope)
        self.cmd_set = False

    @property
    def run(self) -> RunConfig:
        """The container configuration so far."""
        return self.image.run

    def change(self, **fields: Any) -> None:
        """Change fields of the container configuration."""
        run = msgspec.structs.replace(self.run, **fields)
        self.image = msgspec.structs.replace(self.image, config=run)

    def env(self) -> dict[str, str]:
        """The image's environment so far."""
        return variables(self.run)

    def variables(self) -> dict[str, str]:
        """What words are expanded with now."""
        return self.scope.variables(self.env())

    def key(self, identity: str) -> str:
        """The key of a step here: the layers, the whole configuration, and what the step is.

        No name of an image and no history goes in, so that an image that only looks alike never
        matches, and nothing that a RUN can see is left out.
        """
        digest = hashlib.sha256(_KEY_VERSION)
        facts = (self.layers, self.run, self.image.os, self.image.architecture, identity)
        digest.update(msgspec.json.encode(facts, order="deterministic"))
        return "sha256:" + digest.hexdigest()

    async def commit(
        self, identity: str, created_by: str, make: MakeLayer | None = None, *, key: str = ""
    ) -> None:
        """End a step: take it from the cache, or make its layer and remember it.

        ``identity`` is all that tells this step from others on the same state. For steps that
        change ``run`` before they call this, ``key`` is the key of before.
        """
        shared = self.shared
        key = key or self.key(identity)
        entry = None if shared.options.no_cache else await shared.executor.recall(key)
        if entry is None:
            layer = await make() if make is not None else ""
            entry = CacheEntry(layer, shared.clock())
            await shared.executor.remember(key, entry)
        else:
            shared.say(" ---> Using cache\n")
        self._append(entry, created_by)

    def _append(self, entry: CacheEntry, created_by: str) -> None:
        history = History(
            created=entry.created,
            created_by=created_by,
            author=self.image.author,
            empty_layer=not entry.layer,
        )
        if entry.layer:
            self.layers.append(entry.layer)
        self.image = msgspec.structs.replace(
            self.image,
            created=entry.created,
            history=[*(self.image.history or ()), history],
            rootfs=RootFS(diff_ids=list(self.layers)),
            docker_version="",
            comment="",
        )
        self.image_id = image_id(self.image)

    async def configure(self, instruction: Instruction, comment: str) -> None:
        """End a step that only changed the configuration; ``comment`` is Docker's wording.

        The configuration is already changed, so the state's key holds the outcome.
        """
        await self.commit(f"config {instruction.name} {comment}", nop(self.run, comment))


def nop(run: RunConfig, comment: str) -> str:
    """``created_by`` of a step that only changed the configuration."""
    return nop_file(run, f" {comment}")


def nop_file(run: RunConfig, comment: str) -> str:
    """``created_by`` of WORKDIR, COPY and ADD, which have one blank less."""
    return " ".join([*shell_words(run), f"#(nop) {comment}"])
