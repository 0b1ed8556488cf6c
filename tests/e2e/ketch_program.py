"""Our own command line, as a user has it: the program beside the tests' interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from e2e.ketchd_process import Ketchd

KETCH = str(Path(sys.executable).parent / "ketch")


def ketch(
    daemon: Ketchd,
    *words: str,
    input: bytes | None = None,
    code: int | None = 0,
    timeout: float = 120,
) -> subprocess.CompletedProcess[bytes]:
    """Run it against a daemon; ``code`` is the exit status that must come (None: any)."""
    done = subprocess.run(
        [KETCH, *words],
        env={**os.environ, "KETCH_HOST": f"unix://{daemon.socket}"},
        input=input,
        stdin=None if input is not None else subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    assert code is None or done.returncode == code, (
        f"ketch {' '.join(words)}: exit {done.returncode}, wanted {code}\n"
        f"{done.stdout.decode()[-2000:]}\n{done.stderr.decode()[-2000:]}\n{daemon.tail()}"
    )
    return done


def out(daemon: Ketchd, *words: str, input: bytes | None = None) -> str:
    """Its standard output, stripped."""
    return ketch(daemon, *words, input=input).stdout.decode().strip()
