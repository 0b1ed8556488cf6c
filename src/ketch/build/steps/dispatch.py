"""Which function carries out an instruction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ketch.build.dockerfile.ast import (
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from ketch.build.steps.config import (
    do_arg,
    do_cmd,
    do_entrypoint,
    do_env,
    do_expose,
    do_healthcheck,
    do_label,
    do_maintainer,
    do_onbuild,
    do_shell,
    do_stopsignal,
    do_user,
    do_volume,
)
from ketch.build.steps.copy import do_copy, warn_comment
from ketch.build.steps.mounts import Trees
from ketch.build.steps.run import do_run, do_workdir
from ketch.build.steps.state import StageState


async def dispatch(state: StageState, step: Instruction, trees: Trees) -> None:
    """Carry out a step; ``trees`` has what it may take files from, by name, "" for the context."""
    if isinstance(step, Copy):
        await do_copy(state, step, trees[step.from_])
        return
    warn_comment(state.report, step)
    if isinstance(step, Run):
        await do_run(state, step, trees)
    else:
        await _HANDLERS[type(step)](state, step)


_HANDLERS: dict[type[Instruction], Callable[..., Awaitable[None]]] = {
    Arg: do_arg,
    Cmd: do_cmd,
    Entrypoint: do_entrypoint,
    Env: do_env,
    Expose: do_expose,
    Healthcheck: do_healthcheck,
    Label: do_label,
    Maintainer: do_maintainer,
    Onbuild: do_onbuild,
    Shell: do_shell,
    Stopsignal: do_stopsignal,
    User: do_user,
    Volume: do_volume,
    Workdir: do_workdir,
}
