"""The one worker that BuildKit's clients see: this engine."""

from __future__ import annotations

from ketch import __version__
from ketch.buildkit import control_messages as control
from ketch.oci import platform as platforms


def version() -> control.BuildkitVersion:
    """Of the engine."""
    return control.BuildkitVersion(package="ketch", version=f"v{__version__}")


def worker() -> control.WorkerRecord:
    """What it can do."""
    host = platforms.host()
    return control.WorkerRecord(
        ID="ketch",
        Labels={
            "org.mobyproject.buildkit.worker.executor": "ketch",
            # by this one buildx's docker driver knows that all kinds of outputs work
            "org.mobyproject.buildkit.worker.snapshotter": "ketch",
        },
        platforms=[
            control.Platform(Architecture=host.architecture, OS=host.os, Variant=host.variant)
        ],
        version=version(),
    )
