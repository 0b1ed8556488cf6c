"""RUN and WORKDIR."""

from __future__ import annotations

import posixpath

from ketch.build.ast import Run, Workdir
from ketch.build.config import shell_words
from ketch.build.executor import RunStep
from ketch.build.failures import StepFailed
from ketch.build.scope import expand_in
from ketch.build.state import StageState, nop_file

_SCRIPT_DIRECTORY = "/dev/pipes/"


async def do_run(state: StageState, step: Run) -> None:
    """RUN: arguments in scope are part of the key and of the history."""
    argv, script, path = _argv(state, step)
    args = state.scope.run_args(state.env())
    prefix = [f"|{len(args)}", *args] if args else []
    created_by = " ".join([*prefix, *argv])
    identity = "\0".join(["run", step.network, *args, "", *argv, script])

    async def make() -> str:
        return await _execute(state, step, argv, script, path)

    await state.commit(identity, created_by, make)


def _argv(state: StageState, step: Run) -> tuple[list[str], str, str]:
    """The command, and the script file that it needs (text and path) if any."""
    shell = shell_words(state.run)
    text = step.command.words[0] if step.command.shell else ""
    if not step.command.shell:
        return list(step.command.words), "", ""
    if not step.heredocs:
        return [*shell, text], "", ""
    first = step.heredocs[0]
    if text == first.word and len(step.heredocs) == 1:
        if first.text.startswith("#!"):
            path = _SCRIPT_DIRECTORY + posixpath.basename(first.name)
            return [path], first.text, path
        return [*shell, first.text], "", ""
    rest = "".join(f"\n{document.content}{document.name}" for document in step.heredocs)
    return [*shell, text + rest], "", ""


async def _execute(state: StageState, step: Run, argv: list[str], script: str, path: str) -> str:
    shared = state.shared
    options = shared.options
    container = ""

    def started(identity: str) -> None:
        nonlocal container
        container = identity[:12]
        state.report.note(f" ---> Running in {container}\n")

    env = state.env()
    outcome = await shared.executor.run(
        RunStep(
            layers=tuple(state.layers),
            argv=tuple(argv),
            env=(*(state.run.env or ()), *state.scope.run_args(env), *state.scope.proxies(env)),
            user=state.run.user,
            working_dir=state.run.working_dir or "/",
            network=step.network or options.network_mode,
            limits=options.limits,
            extra_hosts=options.extra_hosts,
            script=script,
            script_path=path,
        ),
        started,
        state.report,
    )
    if options.force_remove or (options.remove and outcome.exit_code == 0):
        state.report.note(f" ---> Removed intermediate container {container}\n")
    if outcome.exit_code:
        command = " ".join(argv)
        raise StepFailed(
            f"The command '{command}' returned a non-zero code: {outcome.exit_code}",
            outcome.exit_code,
        )
    return outcome.layer


async def do_workdir(state: StageState, step: Workdir) -> None:
    """WORKDIR: relative to the one before; the directory is made if it is missing."""
    text = expand_in(step, step.path, state.variables(), state.shared.scope.escape)
    if not text:
        raise step.error("WORKDIR requires exactly one argument: it is empty after expansion")
    path = posixpath.normpath(posixpath.join("/", state.run.working_dir, text))
    path = "/" + path.lstrip("/")
    state.change(working_dir=path)

    async def make() -> str:
        return await state.shared.executor.make_directory(tuple(state.layers), path)

    await state.commit(f"workdir {path}", nop_file(state.run, f"WORKDIR {path}"), make)
