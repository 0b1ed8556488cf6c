"""Between an image's configuration and a container's specification, both ways (pure)."""

from __future__ import annotations

from ketch.engine.containers import health_spec
from ketch.engine.containers.health_values import Healthcheck
from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.spec.merge import ImageDefaults
from ketch.oci.image import Health, ImageConfig, RunConfig


def defaults_of(config: ImageConfig) -> ImageDefaults:
    """What a container of the image takes over."""
    run = config.run
    return ImageDefaults(
        entrypoint=tuple(run.entrypoint or ()),
        cmd=tuple(run.cmd or ()),
        env=tuple(run.env or ()),
        labels=dict(run.labels or {}),
        user=run.user,
        working_dir=run.working_dir,
        exposed_ports=tuple(run.exposed_ports or ()),
        volumes=tuple(run.volumes or ()),
        healthcheck=_healthcheck(run.healthcheck),
        stop_signal=run.stop_signal,
        shell=tuple(run.shell or ()),
    )


def _healthcheck(health: Health | None) -> Healthcheck | None:
    """What the image says, if it is a check that Docker knows: others mean nothing."""
    if health is None or (health.test and health.test[0] not in health_spec.DOCKER_KINDS):
        return None
    return Healthcheck(
        test=tuple(health.test or ()),
        interval=health.interval,
        timeout=health.timeout,
        start_period=health.start_period,
        start_interval=health.start_interval,
        retries=health.retries,
    )


def config_of(spec: ContainerSpec, image: ImageConfig) -> RunConfig:
    """The ``config`` object of an image committed from a container."""
    return RunConfig(
        user=spec.user,
        exposed_ports={port: {} for port in spec.exposed_ports} or None,
        env=list(spec.env),
        entrypoint=list(spec.entrypoint) if spec.entrypoint is not None else None,
        cmd=list(spec.cmd) if spec.cmd is not None else None,
        volumes={target: {} for target in spec.anonymous_volumes} or None,
        working_dir=spec.working_dir,
        labels=spec.labels or None,
        stop_signal=spec.stop_signal,
        stop_timeout=spec.stop_timeout,
        healthcheck=_health(spec.healthcheck),
        on_build=image.run.on_build,
        shell=list(spec.shell) or None,
    )


def _health(check: Healthcheck | None) -> Health | None:
    if check is None or health_spec.is_engine_probe(check):
        return None  # no image holds a probe that only this engine knows
    return Health(
        test=list(check.test),
        interval=check.interval,
        timeout=check.timeout,
        start_period=check.start_period,
        start_interval=check.start_interval,
        retries=check.retries,
    )
