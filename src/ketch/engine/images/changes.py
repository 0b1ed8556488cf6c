"""``--change`` of commit and import: Dockerfile instructions that change only the configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from ketch.build.dockerfile import ast
from ketch.build.dockerfile.lexer import lex
from ketch.build.dockerfile.parser import parse_instruction
from ketch.build.dockerfile.scope import GlobalScope
from ketch.build.executor import BaseImage, CacheEntry, Executor, MakeEntry
from ketch.build.progress.events import Report, Vertex
from ketch.build.request.options import BuildOptions
from ketch.build.steps import config as steps_config
from ketch.build.steps.needs import Needs
from ketch.build.steps.run import do_workdir
from ketch.build.steps.state import BuildContext, StageState
from ketch.errors import InvalidParameter
from ketch.oci import image as images
from ketch.oci.image import ImageConfig

_HANDLERS: dict[type[ast.Instruction], Callable[..., Awaitable[None]]] = {
    ast.Cmd: steps_config.do_cmd,
    ast.Entrypoint: steps_config.do_entrypoint,
    ast.Env: steps_config.do_env,
    ast.Expose: steps_config.do_expose,
    ast.Healthcheck: steps_config.do_healthcheck,
    ast.Label: steps_config.do_label,
    ast.Onbuild: steps_config.do_onbuild,
    ast.Stopsignal: steps_config.do_stopsignal,
    ast.User: steps_config.do_user,
    ast.Volume: steps_config.do_volume,
    ast.Workdir: do_workdir,
}


class _NoExecutor:
    """Remembers nothing and makes no directories: a change is a change of words."""

    async def outcome(
        self, key: str, make: MakeEntry, *, reuse: bool, report: Report
    ) -> tuple[CacheEntry, bool]:
        return await make(), False

    async def make_directory(self, layers: tuple[str, ...], path: str, owner: str = "") -> str:
        return ""


async def apply_changes(config: ImageConfig, changes: Sequence[str]) -> ImageConfig:
    """``config`` with the instructions of ``changes`` carried out, in order.

    Raises ``InvalidParameter`` for what is no instruction or one that can't be a change.
    """
    if not changes:
        return config
    base = BaseImage("", images.encode(config), ())
    executor: Executor = _NoExecutor()  # type: ignore[assignment]
    scope = GlobalScope({}, {}, "\\")
    report = Report(_silent, Vertex(digest="", name="change"))
    shared = BuildContext(executor, Needs(executor), BuildOptions(), scope, _silent)
    state = StageState(shared, base, report)
    for change in changes:
        await _apply(state, change)
    return msgspec.structs.replace(
        config, config=images.decode(msgspec.json.encode(state.image)).config
    )


async def _apply(state: StageState, change: str) -> None:
    found = lex(change.encode(), "change").instructions
    if len(found) != 1:
        raise InvalidParameter(f"a change is one Dockerfile instruction, not {change[:100]!r}")
    instruction = parse_instruction(found[0])
    handler = _HANDLERS.get(type(instruction))
    if handler is None:
        raise InvalidParameter(f"{instruction.name} is not a valid change command")
    await handler(state, instruction)


def _silent(event: object) -> None:
    """Nobody listens."""
