"""The real docker command line, for comparing: only a recent one has the words we are to have."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

DOCKER = "/usr/local/bin/docker"
OLDEST = 28


def recent_docker() -> str | None:
    """Its path, if there is one of version 28 or newer."""
    path = DOCKER if os.access(DOCKER, os.X_OK) else shutil.which("docker")
    if path is None:
        return None
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\d+)", text)
    return path if found and int(found[1]) >= OLDEST else None
