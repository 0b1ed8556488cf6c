"""``ketchd --cleanup`` waits for what is on its way out."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from pathlib import Path

import pytest

from ketch.daemon.cleanup import _remove_cgroups
from ketch.engine.containers.cgroup import hierarchies

pytestmark = pytest.mark.root


def test_a_control_group_that_somebody_is_still_leaving() -> None:
    parent = f"/ketch-test-{secrets.token_hex(4)}"
    folders = [Path(f"{hierarchy.mount}{parent}") for hierarchy in hierarchies()]
    inside = [each for each in folders if "cpuset" not in each.parts]  # takes nobody without CPUs
    with subprocess.Popen(["sleep", "3"]) as leaving:
        try:
            for folder in folders:
                folder.mkdir()
            for folder in inside:
                (folder / "cgroup.procs").write_text(str(leaving.pid))
            asyncio.run(_remove_cgroups(parent))
            assert not any(folder.exists() for folder in folders)
        finally:
            leaving.kill()
            leaving.wait()
            for folder in folders:
                if folder.exists():
                    folder.rmdir()
