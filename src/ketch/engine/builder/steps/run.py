"""RUN: a command in a container without a record, whose changes become a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ketch.build.executor import RunOutcome, RunStep
from ketch.build.progress.events import Report
from ketch.engine.builder.steps.mounts import Made, made
from ketch.engine.builder.steps.output import relay
from ketch.engine.builder.steps.sandbox import Sandbox, spec_of
from ketch.engine.emulation import check_runs
from ketch.engine.spec import validate as spec_validate

if TYPE_CHECKING:
    from ketch.engine.builder.cache.mount_transfer import MountTransfer
    from ketch.engine.builder.room import BuildRoom
    from ketch.engine.builder.steps.files import StepFiles


class StepRunner:
    """Runs the RUN steps of one build."""

    def __init__(
        self,
        room: BuildRoom,
        files: StepFiles,
        transfer: MountTransfer,
        facts: spec_validate.Facts,
    ) -> None:
        self._room = room
        self._files = files
        self._transfer = transfer
        self._facts = facts

    async def run(
        self, step: RunStep, started: Callable[[str], None], report: Report
    ) -> RunOutcome:
        """Run to the end; when cancelled, the process is killed and nothing stays."""
        check_runs(step.platform)
        mounting = made(self._room, self._files, self._transfer, step)
        async with mounting as mounts, self._room.slots:  # who waits for a cache takes no slot
            return await self._run(step, mounts, started, report)

    async def _run(
        self, step: RunStep, mounts: Made, started: Callable[[str], None], report: Report
    ) -> RunOutcome:
        sandbox = Sandbox(self._room, step, mounts)
        started(sandbox.id)
        try:
            client = await sandbox.start()
            with client:
                await relay(client, report, self._room.channel.room)
            exit = await sandbox.exited()
            if mounts.points:
                await sandbox.end()  # nothing may still be at work in a mount
            if exit.status not in step.exit_codes:
                self._room.kept[sandbox.id] = mounts.stubs
                return RunOutcome(exit.status, "", kept=sandbox.id, oom=exit.oom)
            layer = await self._room.ingest(sandbox.id, mounts.stubs)
            outputs = {
                target: await self._room.ingest(key) for target, key in mounts.outputs.items()
            }
            return RunOutcome(0, layer, outputs=outputs)
        finally:
            self._room.later(sandbox.retire())

    def check(self) -> None:
        """Refuse limits and networks that no step could have; raises ``InvalidParameter``."""
        options = self._room.options
        self.validate(
            RunStep(
                layers=(),
                argv=("true",),
                env=(),
                user="",
                working_dir="/",
                network=options.network_mode,
                hostname=options.build_args.get("BUILDKIT_SANDBOX_HOSTNAME") or "",
                limits=options.limits,
                extra_hosts=options.extra_hosts,
            )
        )

    def validate(self, step: RunStep) -> None:
        """The same for one step."""
        spec_validate.validate(spec_of(step), self._facts)
