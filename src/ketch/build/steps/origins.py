"""What stages begin with and steps take files from: images, named contexts, nothing at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ketch.build.contexts import named_contexts
from ketch.build.dockerfile.ast import Instruction, Run
from ketch.build.dockerfile.plan import PlannedStage
from ketch.build.executor import BaseImage, CopyPart, CopyStep, Tree
from ketch.build.progress.events import Report
from ketch.build.progress.vertices import SCRATCH, Vertices
from ketch.build.steps.copy import is_remote
from ketch.build.steps.image_config import PATH
from ketch.build.steps.state import BuildContext
from ketch.errors import InvalidParameter, Unsupported
from ketch.oci import reference as references
from ketch.oci.image import ImageConfig, RootFS, RunConfig, encode

_IMAGES = (named_contexts.IMAGE, named_contexts.LAYOUT, named_contexts.INPUT)


class Origins:
    """The origins of one build that are no stages of it."""

    def __init__(self, shared: BuildContext, vertices: Vertices) -> None:
        self._shared = shared
        self._vertices = vertices
        self._loading: dict[str, asyncio.Task[Tree]] = {}  # by URL or reference

    async def base(self, planned: PlannedStage, report: Report) -> BaseImage:
        """What a stage that continues no other one begins with."""
        value = self._named(planned.image, planned.platform)
        if value is not None:
            return await self._of_context(value, planned, report)
        if planned.image == SCRATCH:
            return BaseImage("", encode(self._config()), ())
        _check_reference(planned.stage.base, planned.image)
        return await self._image(planned.image, planned.platform, report)

    async def tree(self, step: Instruction, name: str) -> Tree:
        """The files of an image or a named context."""
        value = self._named(name, "")
        if value is not None and not value.startswith(_IMAGES):
            return await self._files(value)
        if name == SCRATCH and isinstance(step, Run):
            return await self._shared.executor.inline(())
        if name == SCRATCH:
            raise step.error(f"invalid from flag value {SCRATCH}: '{SCRATCH}' is a reserved name")
        if value is None:
            _check_reference(step, name)
        return await self._once((value or name).removeprefix(named_contexts.IMAGE), self._of_image)

    async def _once(self, name: str, load: Callable[[str], Coroutine[Any, Any, Tree]]) -> Tree:
        """Each once a build, whichever steps want it."""
        if name not in self._loading:
            self._loading[name] = asyncio.create_task(load(name))
        return await asyncio.shield(self._loading[name])

    async def _of_image(self, reference: str) -> Tree:
        report = Report(self._shared.sink, self._vertices.image(reference))
        try:
            image = await self._image(reference, "", report)
        except BaseException as error:
            report.end(error=str(error) or "canceled")
            raise
        report.end(image.id)
        return Tree("layers", image.layers)

    def _named(self, name: str, platform: str) -> str | None:
        options = self._shared.options
        return named_contexts.find(options.contexts, name, platform or options.platform)

    async def _image(self, reference: str, platform: str, report: Report) -> BaseImage:
        options, executor = self._shared.options, self._shared.executor
        platform = platform or options.platform
        if reference.startswith(named_contexts.INPUT):
            return executor.of_input(options.inputs[reference.removeprefix(named_contexts.INPUT)])
        if reference.startswith(named_contexts.LAYOUT):
            return await executor.of_layout(reference, platform, report)
        return await executor.base(reference, platform, pull=options.pull, report=report)

    async def _of_context(self, value: str, planned: PlannedStage, report: Report) -> BaseImage:
        """An image, or one with nothing but the files of a directory."""
        if value.startswith(_IMAGES):
            reference = value.removeprefix(named_contexts.IMAGE)
            return await self._image(reference, planned.platform, report)
        part = CopyPart(await self._files(value), (".",))
        layer = await self._shared.executor.copy(
            CopyStep(layers=(), parts=(part,), destination="/", link=True)
        )
        config = self._config([layer] if layer else [])
        return BaseImage("", encode(config), (layer,) if layer else ())

    async def _files(self, value: str) -> Tree:
        if value.startswith(named_contexts.LOCAL):
            return Tree("context", name=value.removeprefix(named_contexts.LOCAL))
        if is_remote(value.removeprefix(named_contexts.WITH_NAME)):
            return await self._once(value, self._fetch)
        raise Unsupported(f"the build context {value!r} is of a kind that is not supported")

    async def _fetch(self, url: str) -> Tree:
        report = Report(
            self._shared.sink,
            self._vertices.internal(f"load {url.removeprefix(named_contexts.WITH_NAME)}"),
        )
        try:
            tree = await self._shared.executor.unpacked(url, report)
        except BaseException as error:
            report.end(error=str(error) or "canceled")
            raise
        report.end()
        return tree

    async def close(self) -> None:
        """Nothing is fetched any more."""
        for loading in self._loading.values():
            loading.cancel()
        await asyncio.gather(*self._loading.values(), return_exceptions=True)

    def _config(self, layers: list[str] | None = None) -> ImageConfig:
        platform = self._shared.scope.platform
        return ImageConfig(
            architecture=platform.get("TARGETARCH", ""),
            os=platform.get("TARGETOS", ""),
            variant=platform.get("TARGETVARIANT", ""),
            config=RunConfig(env=[f"PATH={PATH}"], working_dir="/"),
            rootfs=RootFS(diff_ids=layers or []),
        )


def _check_reference(step: Instruction, name: str) -> None:
    """What is no reference is an error of the instruction, with its line."""
    try:
        references.parse(name)
    except InvalidParameter as error:
        raise step.error(f'failed to parse stage name "{name}": {error}') from None
