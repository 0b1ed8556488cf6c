"""What a daemon of the tests left behind on the machine."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

from e2e.ketchd_process import Ketchd, is_zombie


def leftovers(ketchd: Ketchd) -> dict[str, list[str]]:
    """Everything that bears the daemon's marks, by kind; empty lists when it is clean."""
    found = {
        "mounts": _mounts(str(ketchd.folder)),
        "processes": _processes(str(ketchd.run)),
        "cgroups": _cgroups(ketchd.cgroup),
        "ports": _published(ketchd.table),
        "links": _links(ketchd.bridge),
        "containers": _entries(ketchd.data / "containers"),
        "snapshots": _entries(ketchd.data / "snapshots"),
        "shims": _entries(ketchd.run / "shims"),
    }
    return {kind: items for kind, items in found.items() if items}


def _mounts(folder: str) -> list[str]:
    return [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if folder in line
    ]


def kill_processes(ketchd: Ketchd) -> None:
    """End what names the daemon's own directory on its command line."""
    for line in _processes(str(ketchd.run)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(line.partition(":")[0]), signal.SIGKILL)


def _processes(run: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or is_zombie(entry.name):
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if run in command and int(entry.name) != os.getpid():
            found.append(f"{entry.name}: {command}")
    return found


def _cgroups(parent: str) -> list[str]:
    """Cgroups below the parent; the parent itself may stay."""
    return [str(path) for path in Path("/sys/fs/cgroup").glob(f"*{parent}/*/")] + [
        str(path) for path in Path("/sys/fs/cgroup").glob(f"{parent.lstrip('/')}/*/")
    ]


def remove_cgroup_parent(parent: str) -> None:
    for path in (*Path("/sys/fs/cgroup").glob(f"*{parent}"), Path("/sys/fs/cgroup" + parent)):
        if path.is_dir():
            path.rmdir()


def _published(table: str) -> list[str]:
    """Elements of the maps of published ports; the table itself stays for the next daemon."""
    shown = subprocess.run(
        ["nft", "list", "table", "ip", table], capture_output=True, text=True, check=False
    ).stdout
    maps = re.findall(r"map (\S+) \{[^{}]*elements = \{([^{}]*)\}", shown)
    return [f"{name}: {' '.join(elements.split())}" for name, elements in maps]


def _links(bridge: str) -> list[str]:
    """Ports of the bridge, which may stay itself."""
    return _entries(Path(f"/sys/class/net/{bridge}/brif"))


def _entries(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.is_dir() else []
