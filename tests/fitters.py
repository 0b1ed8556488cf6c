"""The fitters of a launcher: siblings of the shims of its warm members."""

from __future__ import annotations

from pathlib import Path


def fitters(launcher: int) -> list[int]:
    """Pids of those that have a container to make, now or when a START comes."""
    below = [child for zygote in _children(launcher) for child in _children(zygote)]
    return [pid for pid in below if Path(f"/proc/{pid}/comm").read_text() == "ketch-fitter\n"]


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
