"""Steps that change only the configuration: they make no layer."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ketch.build.dockerfile.ast import (
    Arg,
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Shell,
    Stopsignal,
    User,
    Volume,
)
from ketch.build.dockerfile.durations import format_duration
from ketch.build.dockerfile.exposed import BadPort, exposed_ports
from ketch.build.dockerfile.quoting import go_quote, go_quote_rune
from ketch.build.dockerfile.scope import PROXY_ARGS, expand_in, expand_list_in
from ketch.build.dockerfile.signals import check_signal
from ketch.build.steps.image_config import shell_words, with_variable
from ketch.build.steps.state import StageState
from ketch.oci.image import Health


async def do_env(state: StageState, step: Env) -> None:
    """ENV: all values of one instruction are expanded with the state before it."""
    variables, escape = state.variables(), state.shared.scope.escape
    pairs = [
        (
            expand_in(step, key, variables, escape),
            expand_in(step, value, variables, escape),
        )
        for key, value in step.pairs
    ]
    env = list(state.run.env or ())
    for key, value in pairs:
        if not key:
            raise step.error("ENV names can not be blank")
        env = with_variable(env, key, value)
        state.scope.newer.discard(key)
    state.change(env=env)
    await state.configure(step, "ENV " + " ".join(f"{key}={value}" for key, value in pairs))


async def do_label(state: StageState, step: Label) -> None:
    """LABEL."""
    variables, escape = state.variables(), state.shared.scope.escape
    words = [
        (expand_in(step, key, variables, escape), expand_in(step, value, variables, escape))
        for key, value in step.pairs
    ]
    pairs = dict(words)
    state.change(labels={**(state.run.labels or {}), **pairs})
    buildkit = None if step.given else f"LABEL {_joined(words)}"
    await state.configure(step, f"LABEL {_joined(pairs.items())}", buildkit)


async def do_arg(state: StageState, step: Arg) -> None:
    """ARG: what the client gave counts only where a RUN sees it; BuildKit's history tells it."""
    declared = state.scope.declare(step, state.env())
    defaults = [(one.name, one.default) for one in declared]
    values = [(one.name, None if one.name in PROXY_ARGS else one.value) for one in declared]
    await state.configure(step, f"ARG {_joined(defaults)}", f"ARG {_joined(values)}")


async def do_cmd(state: StageState, step: Cmd) -> None:
    """CMD."""
    words = _command(state, step)
    state.change(cmd=words or None, args_escaped=state.shared.words.args_escaped)
    state.cmd_set = True
    await state.configure(step, f"CMD {_list(words)}")


async def do_entrypoint(state: StageState, step: Entrypoint) -> None:
    """ENTRYPOINT; forgets a CMD that came from the base image."""
    words = _command(state, step)
    state.change(entrypoint=words or None)
    if not state.cmd_set:
        state.change(cmd=None)
    await state.configure(step, f"ENTRYPOINT {_list(words)}")


async def do_shell(state: StageState, step: Shell) -> None:
    """SHELL."""
    state.change(shell=list(step.words))
    await state.configure(step, f"SHELL [{' '.join(step.words)}]")


async def do_user(state: StageState, step: User) -> None:
    """USER; looked up only when something runs."""
    user = expand_in(step, step.user, state.variables(), state.shared.scope.escape)
    state.change(user=user)
    await state.configure(step, f"USER {user}")


async def do_stopsignal(state: StageState, step: Stopsignal) -> None:
    """STOPSIGNAL."""
    name = expand_in(step, step.signal, state.variables(), state.shared.scope.escape)
    try:
        check_signal(name)
    except ValueError as error:
        raise step.error(str(error)) from None
    state.change(stop_signal=name)
    await state.configure(step, f"STOPSIGNAL {name}")


async def do_maintainer(state: StageState, step: Maintainer) -> None:
    """MAINTAINER."""
    state.image = msgspec.structs.replace(state.image, author=step.author)
    await state.configure(step, f"MAINTAINER {step.author}")


async def do_onbuild(state: StageState, step: Onbuild) -> None:
    """ONBUILD."""
    state.change(on_build=[*(state.run.on_build or ()), step.trigger])
    await state.configure(step, f"ONBUILD {step.trigger}", None)


async def do_volume(state: StageState, step: Volume) -> None:
    """VOLUME."""
    variables, escape = state.variables(), state.shared.scope.escape
    paths = [expand_in(step, path, variables, escape).strip() for path in step.paths]
    if not all(paths):
        raise step.error("VOLUME specified can not be an empty string")
    state.change(volumes={**(state.run.volumes or {}), **{path: {} for path in paths}})
    await state.configure(step, f"VOLUME [{' '.join(paths)}]")


async def do_expose(state: StageState, step: Expose) -> None:
    """EXPOSE."""
    variables, escape = state.variables(), state.shared.scope.escape
    words = [w for port in step.ports for w in expand_list_in(step, port, variables, escape)]
    ports: dict[str, dict[str, str]] = {}
    for word in words:
        try:
            ports.update({port: {} for port in exposed_ports(word)})
        except BadPort as error:
            raise step.error(str(error)) from None
    state.change(exposed_ports={**(state.run.exposed_ports or {}), **ports} or None)
    await state.configure(
        step, f"EXPOSE {' '.join(sorted(words))}", f"EXPOSE [{' '.join(sorted(ports))}]"
    )


async def do_healthcheck(state: StageState, step: Healthcheck) -> None:
    """HEALTHCHECK."""
    health = Health(
        test=list(step.test),
        interval=step.interval,
        timeout=step.timeout,
        start_period=step.start_period,
        start_interval=step.start_interval,
        retries=step.retries,
    )
    state.change(healthcheck=health)
    times = (step.interval, step.timeout, step.start_period, step.start_interval)
    shown = " ".join(go_quote(format_duration(value)) for value in times)
    comment = f"HEALTHCHECK &{{{_list(step.test)} {shown} {go_quote_rune(step.retries)}}}"
    await state.configure(step, comment)


def _command(state: StageState, step: Cmd | Entrypoint) -> list[str]:
    words = list(step.command.words)
    return [*shell_words(state.run), *words] if step.command.shell else words


def _joined(pairs: Iterable[tuple[str, str | None]]) -> str:
    return " ".join(name if value is None else f"{name}={value}" for name, value in pairs)


def _list(words: list[str] | tuple[str, ...]) -> str:
    return "[" + " ".join(go_quote(word) for word in words) + "]"
