"""``ketchd --cleanup`` waits for what is on its way out."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ketch.daemon.cleanup import _remove_cgroups
from ketch.daemon.pidfile import LockedFile
from ketch.engine.containers.cgroup import hierarchies
from ketch.errors import Conflict

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


def test_empty_groups_below_the_parent_go_and_others_stay() -> None:
    """Parents of containers that were below ours, and what a killed sandbox left."""
    parent = f"/ketch-test-{secrets.token_hex(4)}"
    folders = [Path(f"{hierarchy.mount}{parent}") for hierarchy in hierarchies()]
    beside = [folder.with_name(f"{folder.name}-other") for folder in folders]
    try:
        for folder in (*folders, *beside):
            (folder / "sub" / "deeper").mkdir(parents=True)
        asyncio.run(_remove_cgroups(parent))
        assert not any(folder.exists() for folder in folders)
        assert all((folder / "sub" / "deeper").exists() for folder in beside)
    finally:
        for folder in (*folders, *beside):
            for path in (folder / "sub" / "deeper", folder / "sub", folder):
                if path.exists():
                    path.rmdir()


def test_a_lock_whose_file_was_removed_is_taken_anew(tmp_path: Path) -> None:
    """By somebody who had opened the file before it was removed."""
    path = str(tmp_path / "pid")
    held = LockedFile(path)
    real, opened = os.open, []

    def late(*args: Any, **options: Any) -> int:
        found = real(*args, **options)
        if not opened:
            opened.append(found)
            held.remove()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", late)
        second = LockedFile(path)
    with pytest.raises(Conflict):
        LockedFile(path)
    second.release()
