"""Using up free blocks: afterwards the allocator has next to none left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"
CODE = """
import sys
sys.path.append(sys.argv[1])
from ketch.linux import freeblocks
before = sum(free for size, free in freeblocks._free_blocks() if size > 33)
filled = freeblocks.use_up()
after = sum(free for size, free in freeblocks._free_blocks() if size > 33)
print(before, filled, after)
"""


def test_free_blocks_are_used_up() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", CODE, str(SOURCE)],
        capture_output=True,
        text=True,
        check=True,
    )
    before, filled, after = map(int, done.stdout.split())
    assert filled > before / 2
    assert after < before  # what is free now lies on fresh pools
    assert done.stderr == ""
