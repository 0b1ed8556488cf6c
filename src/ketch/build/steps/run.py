"""RUN and WORKDIR."""

from __future__ import annotations

import json
import posixpath

import msgspec

from ketch.build.dockerfile.ast import Run, Workdir
from ketch.build.dockerfile.scope import expand_in
from ketch.build.executor import RunOutcome, RunStep, StepMount
from ketch.build.failures import FailedRun, StepFailed
from ketch.build.steps import mounts as run_mounts
from ketch.build.steps.image_config import shell_words
from ketch.build.steps.mounts import Trees
from ketch.build.steps.state import StageState

_SCRIPT_DIRECTORY = "/dev/pipes/"


async def do_run(state: StageState, step: Run, trees: Trees) -> None:
    """RUN: arguments in scope are part of the key and of the history.

    ``trees`` is what its mounts take files from (see ``run_mounts``). Who offers no secret may
    have from the cache what was made with it, as with BuildKit; who offers one has nothing that
    was made without.
    """
    _check_entitlements(state, step)
    argv, script, path = _argv(state, step)
    mounts = await run_mounts.resolve(state, step, trees)
    state.shared.executor.mounted(mounts)
    args = state.scope.run_args(state.env())
    told = [*shell_words(state.run), path] if script else argv
    declared = state.scope.declared_args(state.env())
    created_by = state.shared.words.ran(told, args, declared)

    async def key(mounts: tuple[StepMount, ...]) -> str:
        seen = await run_mounts.identity(state, mounts)
        words = [*_surroundings(state, step), *args, "", *seen, "", *argv, script]
        return state.key("\0".join(words))

    async def run(lent: tuple[StepMount, ...]) -> str:
        run = _planned(state, step, lent)
        run = msgspec.structs.replace(run, argv=tuple(argv), script=script, script_path=path)
        return await _execute(state, run)

    async def make() -> str:
        lent = await run_mounts.offered(state, mounts)
        if lent != mounts:
            raise _Lacking(lent)
        return await run(mounts)

    try:
        await state.commit(await key(mounts), created_by, make)
    except _Lacking as lacking:
        lent = lacking.lent
        await state.commit(await key(lent), created_by, lambda: run(lent))


class _Lacking(Exception):
    """The client does not offer all secrets and agents that a step mounts; ``lent`` is the rest."""

    def __init__(self, lent: tuple[StepMount, ...]) -> None:
        super().__init__()
        self.lent = lent


def _surroundings(state: StageState, step: Run) -> list[str]:
    """What a step sees beside files and environment, for its key. Of the hosts the names count, as
    with Docker: addresses differ between machines that mean the same. Amounts of memory and CPU
    change how long a step takes, not what it makes."""
    options = state.shared.options
    network = step.network or options.network_mode
    network = "" if network == "default" else network  # clients name it or leave it out
    hostname = options.build_args.get("BUILDKIT_SANDBOX_HOSTNAME") or ""
    hosts = [host.partition(":")[0] for host in options.extra_hosts]
    limits = [f"{name}={soft}:{hard}" for name, soft, hard in sorted(options.limits.ulimits)]
    size = options.limits.shm_size
    return [
        *("run", network, step.security),
        *([f"on {hostname}"] if hostname else []),
        *(f"knows {host}" for host in hosts),
        *(f"limit {limit}" for limit in limits),
        *([f"/dev/shm {size}"] if size else []),
        *(f"proxy {proxy}" for proxy in state.scope.declared_proxies()),
    ]


def _check_entitlements(state: StageState, step: Run) -> None:
    """A Dockerfile is somebody else's: what weakens the sandbox, the one who builds must allow."""
    options = state.shared.options
    wanted = []
    if step.security == "insecure":
        wanted.append("security.insecure")
    if step.network == "host" and options.network_mode != "host":
        wanted.append("network.host")
    for entitlement in wanted:
        if entitlement not in options.allow:
            raise step.error(f"{entitlement} is not allowed: build with --allow {entitlement}")


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


def before(state: StageState) -> FailedRun:
    """Where a step that is no RUN has failed: what a RUN in its place would have seen."""
    return FailedRun(_planned(state, None, ()), "")


def _planned(state: StageState, step: Run | None, mounts: tuple[StepMount, ...]) -> RunStep:
    """The step without its command."""
    options, scope = state.shared.options, state.scope
    env = state.env()
    kept = scope.environment(state.run.env or ())
    network, security = (step.network, step.security) if step else ("", "")
    return RunStep(
        layers=tuple(state.layers),
        argv=(),
        env=(*kept, *scope.run_args(env), *scope.proxies(env)),
        user=state.run.user,
        working_dir=_normal(state.run.working_dir),
        network=network or options.network_mode,
        limits=options.limits,
        hostname=options.build_args.get("BUILDKIT_SANDBOX_HOSTNAME") or "",
        extra_hosts=options.extra_hosts,
        insecure=security == "insecure",
        platform=str(state.image.platform),
        mounts=mounts,
        renew=not (state.reuse or options.verify),  # --no-cache, as in BuildKit
    )


async def _execute(state: StageState, step: RunStep) -> str:
    options = state.shared.options
    container = ""

    def started(identity: str) -> None:
        nonlocal container
        container = identity[:12]
        state.report.note(f" ---> Running in {container}\n")

    outcome = await state.shared.executor.run(step, started, state.report)
    if options.force_remove or (options.remove and outcome.exit_code == 0):
        state.report.note(f" ---> Removed intermediate container {container}\n")
    if outcome.exit_code:
        failed = failure(step, outcome)
        failed.vertex = state.report.vertex.digest
        raise failed
    return outcome.layer


def failure(step: RunStep, outcome: RunOutcome) -> StepFailed:
    """In docker's words and in BuildKit's; both say when memory was why."""
    command, code = " ".join(step.argv), outcome.exit_code
    memory, enomem = "", ""
    if outcome.oom:
        limit = step.limits.memory
        memory = ": it ran out of memory" + (f" (--memory is {limit} bytes)" if limit else "")
        enomem = ": cannot allocate memory"
    failed = StepFailed(
        f"The command '{command}' returned a non-zero code: {code}{memory}",
        code,
        f"process {_quoted(command)} did not complete successfully: exit code: {code}{enomem}",
    )
    failed.run = FailedRun(step, outcome.kept)
    return failed


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


async def do_workdir(state: StageState, step: Workdir) -> None:
    """WORKDIR: relative to the one before; the directory is made if it is missing. The image keeps
    an absolute path as it is written, as Docker does."""
    text = expand_in(step, step.path, state.variables(), state.shared.scope.escape)
    path = _normal(posixpath.join("/", state.run.working_dir, text))
    kept = text if text.startswith("/") else path
    state.change(working_dir=kept)

    async def make() -> str:
        executor = state.shared.executor
        return await executor.make_directory(tuple(state.layers), path, state.run.user)

    identity = f"workdir {path}" + (f" of {state.run.user}" if state.run.user else "")
    created_by = state.shared.words.placed(state.run, f"WORKDIR {kept}")
    await state.commit(state.files_key(identity), created_by, make)


def _normal(path: str) -> str:
    return "/" + posixpath.normpath(path or "/").lstrip("/")
