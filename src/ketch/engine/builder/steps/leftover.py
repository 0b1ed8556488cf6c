"""Steps that a killed daemon left in cgroups of somebody else's.

What runs below the engine's own cgroup parent is found there when no record names it. A step of a
build with ``--cgroup-parent`` is below another one, where groups of others may be: so each has a
note of its parent in its bundle, and only what such a note names is ended.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress

from ketch.engine.storing import storing
from ketch.errors import KetchError
from ketch.runtime.cgroups.group import Cgroup

_NOTE = "cgroup-parent"
_log = logging.getLogger("ketch.engine.builder")


def note(bundle: str, parent: str) -> None:
    """Remember the cgroup parent of the step with this bundle, before it starts."""
    with storing("a build step"), open(f"{bundle}/{_NOTE}", "w", encoding="utf-8") as file:
        file.write(parent)


def end_steps(build: str) -> None:
    """Kill what still runs of the steps whose bundles are in a build's directory."""
    with suppress(NotADirectoryError), os.scandir(build) as entries:
        steps = [entry.name for entry in entries if os.path.exists(f"{entry.path}/{_NOTE}")]
        for step in steps:
            try:
                with open(f"{build}/{step}/{_NOTE}", encoding="utf-8") as file:
                    group = Cgroup(file.read(), step)
                group.kill()
                group.remove()
            except (OSError, ValueError, KetchError) as error:
                _log.warning("the step %s of a build cannot be ended: %s", step, error)
