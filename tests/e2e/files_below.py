"""Everything below directories that a daemon works in: what goes meanwhile is passed over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def files_below(*roots: Path) -> Iterator[Path]:
    """What is no directory; links are not followed."""
    for root in roots:
        for folder, folders, names in os.walk(root):
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            yield from (Path(folder, name) for name in [*names, *links])
