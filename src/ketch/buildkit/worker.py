"""The one worker that BuildKit's clients see: this engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch import __version__
from ketch.buildkit.messages import control
from ketch.engine.emulation import runnable

if TYPE_CHECKING:
    from ketch.engine.builder.builder import Builder
    from ketch.engine.builder.cache.gc import Rule

_SPEAKS = "0.25.0"
"""The version of BuildKit whose API is spoken here. Clients compare it with the versions of their
features (attestations 0.11, several outputs 0.13): it must not be ketch's own number."""

_LABEL = "org.mobyproject.buildkit.worker."


def version() -> control.BuildkitVersion:
    """Of the API, with the engine's as build metadata (semver.org, 10)."""
    return control.BuildkitVersion(package="ketch", version=f"v{_SPEAKS}+ketch.{__version__}")


def worker(builder: Builder) -> control.WorkerRecord:
    """What it can do."""
    labels = {
        f"{_LABEL}executor": "ketch",
        # by this one buildx's docker driver knows that all kinds of outputs work
        f"{_LABEL}snapshotter": "ketch",
    }
    if gateway := builder.gateway():
        labels[f"{_LABEL}moby.host-gateway-ip"] = gateway  # buildx fills in host-gateway itself
    return control.WorkerRecord(
        ID="ketch",
        Labels=labels,
        platforms=[
            control.Platform(Architecture=p.architecture, OS=p.os, Variant=p.variant)
            for p in runnable()
        ],
        GCPolicy=[_policy(rule) for rule in builder.cache.told()],
        version=version(),
    )


def _policy(rule: Rule) -> control.GCPolicy:
    """Layers that images hold go from the cache too: ``all``."""
    return control.GCPolicy(
        all=True,
        keepDuration=rule.unused_for,
        filters=[f"{key}=={value}" for key, values in rule.filters.items() for value in values],
        reservedSpace=rule.amounts.reserved,
        maxUsedSpace=rule.amounts.max_used,
        minFreeSpace=rule.amounts.min_free,
    )
