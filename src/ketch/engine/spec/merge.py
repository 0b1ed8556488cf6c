"""Merging what a client asked for with what the image says (pure).

The rules are Docker's, because clients lean on them: variables of the request come first, an
entrypoint in the request switches the image's command off, labels and ports are united.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

import msgspec

from ketch.engine.containers.health_values import Healthcheck
from ketch.engine.containers.spec import ContainerSpec
from ketch.errors import InvalidParameter


class ImageDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an image's configuration that a container takes over."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    user: str = ""
    working_dir: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    healthcheck: Healthcheck | None = None
    stop_signal: str = ""
    shell: tuple[str, ...] = ()


def merge(spec: ContainerSpec, image: ImageDefaults) -> ContainerSpec:
    """The specification that the container will have.

    Raises ``InvalidParameter`` for a malformed variable and when there is nothing to run.
    """
    entrypoint, cmd = _command(spec, image)
    return msgspec.structs.replace(
        spec,
        entrypoint=entrypoint,
        cmd=cmd,
        env=merge_env(spec.env, image.env),
        labels={**image.labels, **spec.labels},
        user=spec.user or image.user,
        working_dir=_tidy(spec.working_dir or image.working_dir),
        exposed_ports=_united(spec.exposed_ports, image.exposed_ports),
        anonymous_volumes=_united(spec.anonymous_volumes, image.volumes),
        healthcheck=_healthcheck(spec.healthcheck, image.healthcheck),
        stop_signal=spec.stop_signal or image.stop_signal,
        shell=spec.shell or image.shell,
    )


def _tidy(path: str) -> str:
    """``/a/../b`` is ``/b``, before any link of the image is looked at."""
    return posixpath.normpath("/" + path.lstrip("/")) if path.startswith("/") else path


def _command(
    spec: ContainerSpec, image: ImageDefaults
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    entrypoint, cmd = spec.entrypoint, spec.cmd
    if not entrypoint:
        cmd = cmd or image.cmd
        if entrypoint is None:
            entrypoint = image.entrypoint
    if entrypoint == ("",):  # what `--entrypoint ""` sends: none, not the image's either
        entrypoint = ()
    if not entrypoint and not cmd:
        raise InvalidParameter("no command specified")
    return entrypoint or None, cmd or None


def merge_env(asked: Iterable[str], image: Iterable[str]) -> tuple[str, ...]:
    """Variables of the request first, then those that only the image has."""
    merged = [_checked(entry) for entry in asked]
    names = {_name(entry) for entry in merged}
    merged += [entry for entry in image if _name(entry) not in names]
    return tuple(merged)


def _checked(entry: str) -> str:
    if not _name(entry) or "\0" in entry:
        raise InvalidParameter(f"invalid environment variable: {entry}")
    return entry


def _name(entry: str) -> str:
    return entry.partition("=")[0]


def process_env(spec_env: Iterable[str], *, hostname: str, tty: bool) -> list[str]:
    """The environment of the process: ours first, overridden by the specification's.

    A variable without ``=`` removes one; the last of two wins.
    """
    env = {"PATH": _PATH, "HOSTNAME": hostname}
    if tty:
        env["TERM"] = "xterm"
    for entry in spec_env:
        name, equals, value = entry.partition("=")
        if equals:
            env[name] = value
        else:
            env.pop(name, None)
    return [f"{name}={value}" for name, value in env.items()]


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _united(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _healthcheck(asked: Healthcheck | None, image: Healthcheck | None) -> Healthcheck | None:
    if asked is None or image is None:
        return asked or image
    return Healthcheck(
        test=asked.test or image.test,
        interval=asked.interval or image.interval,
        timeout=asked.timeout or image.timeout,
        start_period=asked.start_period or image.start_period,
        start_interval=asked.start_interval or image.start_interval,
        retries=asked.retries or image.retries,
    )
