"""An executor whose steps all succeed and change nothing: for who only wants to know the words.

The protocol is ``ketch.build.executor``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

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
from ketch.build.progress.events import Report
from ketch.build.request.options import ImageInput
from ketch.build.steps.image_config import timestamp
from ketch.errors import NotFound
from ketch.oci import reference as references


class DryExecutor:
    """See the module's docstring; ``configs`` has the configurations of the images that there are,
    by name."""

    def __init__(self, configs: Mapping[str, bytes]) -> None:
        self._configs = configs

    async def base(self, reference: str, platform: str, *, pull: bool, report: Report) -> BaseImage:
        references.parse(reference)
        config = self._configs.get(reference)
        if config is None:
            raise NotFound(f"nothing is known of {reference}")
        return BaseImage(reference, config, ())

    async def of_layout(self, value: str, platform: str, report: Report) -> NoReturn:
        raise NotFound(f"nothing is known of {value}")

    def of_input(self, image: ImageInput) -> BaseImage:
        return BaseImage("input", image.config, ())

    def mounted(self, mounts: tuple[StepMount, ...]) -> None:
        pass

    async def outcome(
        self, key: str, make: MakeEntry, *, reuse: bool, report: Report
    ) -> tuple[CacheEntry, bool]:
        return CacheEntry("", timestamp()), True

    async def run(
        self, step: RunStep, started: Callable[[str], None], report: Report
    ) -> RunOutcome:
        return RunOutcome(0, "")

    async def exists(self, tree: Tree, path: str) -> bool:
        return False

    async def directories(self, layers: tuple[str, ...], path: str) -> list[tuple[int, int, int]]:
        return []

    async def checksum(self, part: CopyPart) -> str:
        return "file:"

    async def copy(self, step: CopyStep) -> str:
        return ""

    async def make_directory(self, layers: tuple[str, ...], path: str, owner: str = "") -> str:
        return ""

    async def inline(self, files: tuple[tuple[str, bytes], ...]) -> Tree:
        return Tree("fetched")

    async def fetch(self, url: str, name: str, checksum: str) -> Tree:
        return Tree("fetched")

    async def clone(self, url: str, checksum: str, *, keep_git_dir: bool, report: Report) -> Tree:
        return Tree("fetched")

    async def unpacked(self, url: str, report: Report) -> Tree:
        return Tree("fetched")

    async def secret(self, id: str) -> bytes | None:
        return b""

    async def has_agent(self, id: str) -> bool:
        return True

    async def commit(
        self, config: bytes, layers: tuple[str, ...], parent: str, tags: tuple[str, ...] = ()
    ) -> str:
        return ""


def silent(event: object) -> None:
    """Nobody listens."""
