"""An image that makes the bill of materials of a build's result (BuildKit's
docs/attestations/sbom-protocol.md).

The image runs like a step: the result is mounted in it, its ``*.spdx.json`` are in-toto statements
without subjects.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ketch.build.executor import RunStep, StepMount, Tree
from ketch.engine.builder.outcome.documents import Predicate
from ketch.errors import InvalidParameter
from ketch.oci import image as images
from ketch.oci import platform as platforms

if TYPE_CHECKING:
    from ketch.build.progress.events import Report
    from ketch.build.request.attestations import Scanner
    from ketch.engine.builder.outcome.result import Result
    from ketch.engine.builder.room import BuildRoom
    from ketch.engine.builder.steps.executor import BuildExecutor

_OUT, _SOURCE, _EXTRAS = "/run/out", "/run/src/core/sbom", "/run/src/extras"


class _Statement(msgspec.Struct, rename="camel"):
    predicate_type: str
    predicate: dict[str, Any]


class ImageScanner:
    """Scans the results of one build, each once."""

    def __init__(
        self,
        room: BuildRoom,
        executor: BuildExecutor,
        scanner: Scanner,
        reporting: Callable[[str], Report],
    ) -> None:
        self._room = room
        self._executor = executor
        self._scanner = scanner
        self._reporting = reporting
        self._known: dict[tuple[object, ...], list[Predicate]] = {}

    async def predicates(self, result: Result) -> list[Predicate]:
        """What the image says of a result; raises ``InvalidParameter`` when it fails."""
        key = (result.layers, result.scanned)
        if key not in self._known:
            report = self._reporting(
                f"[{result.platform}] generating sbom using {self._scanner.image}"
            )
            try:
                self._known[key] = await self._scan(result, report)
            except BaseException as error:
                report.end(error=str(error) or "canceled")
                raise
            report.end()
        return self._known[key]

    async def _scan(self, result: Result, report: Report) -> list[Predicate]:
        base = await self._executor.base(
            self._scanner.image, str(platforms.host()), pull=False, report=report
        )
        step = self._step(images.decode(base.config), base.layers, result)
        extras = [f"{_EXTRAS}/{name}" for name, _ in result.scanned]
        for place in (_OUT, _SOURCE, *extras):
            made = await self._executor.make_directory(step.layers, place)
            if made:
                step = msgspec.structs.replace(step, layers=(*step.layers, made))
        outcome = await self._executor.run(step, lambda _: None, report)
        if outcome.exit_code:
            raise InvalidParameter(
                f"the SBOM generator {self._scanner.image} ended with exit code {outcome.exit_code}"
            )
        if not outcome.layer:
            raise InvalidParameter(f"the SBOM generator {self._scanner.image} wrote nothing")
        return await self._read(outcome.layer)

    def _step(self, config: images.ImageConfig, layers: tuple[str, ...], result: Result) -> RunStep:
        run = config.run
        argv = (*(run.entrypoint or ()), *(run.cmd or ()))
        if not argv:
            raise InvalidParameter(f"the SBOM generator {self._scanner.image} has no command")
        told = {f"BUILDKIT_SCAN_{key}": value for key, value in self._scanner.parameters}
        told |= {"BUILDKIT_SCAN_DESTINATION": f"{_OUT}/", "BUILDKIT_SCAN_SOURCE": _SOURCE}
        told |= {"BUILDKIT_SCAN_SOURCE_EXTRAS": _EXTRAS} if result.scanned else {}
        trees = {_SOURCE: Tree("layers", layers=result.layers)} if result.layers else {}
        trees |= {f"{_EXTRAS}/{name}": tree for name, tree in result.scanned}
        return RunStep(
            layers=layers,
            argv=argv,
            env=(*(run.env or ()), *(f"{key}={value}" for key, value in told.items())),
            user="",
            working_dir=run.working_dir or "/",
            network="",
            limits=self._room.options.limits,
            mounts=(
                *(StepMount(type="bind", target=at, tree=tree) for at, tree in trees.items()),
                StepMount(type="tmpfs", target="/tmp", mode=0o1777),
            ),
        )

    async def _read(self, layer: str) -> list[Predicate]:
        parts = self._room.parts
        found = await parts.launcher.work(
            "ketch.build.tasks.attest:scans", {"folder": _OUT}, [], parts.snapshots.view([layer])
        )
        scans = sorted(found["scans"].items(), key=_image_first)
        return [self._predicate(name, text) for name, text in scans]

    def _predicate(self, name: str, text: str) -> Predicate:
        try:
            told = msgspec.json.decode(text, type=_Statement)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidParameter(
                f"{name} of the SBOM generator {self._scanner.image} is no in-toto statement:"
                f" {error}"
            ) from None
        return Predicate(told.predicate_type, told.predicate, name)


def _image_first(scan: tuple[str, str]) -> tuple[bool, str]:
    """What is said of the result itself is what clients show first."""
    name = scan[0]
    return name.partition(".")[0] != posixpath.basename(_SOURCE), name
