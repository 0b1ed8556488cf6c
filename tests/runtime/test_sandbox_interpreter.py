"""What becomes a container runs from an interpreter that cannot be overwritten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ketch

pytestmark = pytest.mark.root

PROGRAM = """
import os, sys
sys.path.append(sys.argv[1])
from ketch.runtime import interpreter
if sys.argv[2] == "seal":
    interpreter.seal()
print(interpreter.is_sealed(), sys.executable, sys.prefix, sys.argv[3:])
flags = os.statvfs("/proc/self/exe").f_flag
try:
    os.open("/proc/self/exe", os.O_WRONLY)
    print("opened")
except OSError as error:
    print("refused")
"""


def _run(how: str, path: Path) -> list[str]:
    script = path / "program.py"
    script.write_text(PROGRAM)
    source = str(Path(ketch.__file__).parent.parent)
    command = [sys.executable, "-I", "-S", str(script), source, how, "a b", "-c"]
    return subprocess.check_output(command, text=True).splitlines()


def test_sealed_interpreter_is_the_same_program(tmp_path: Path) -> None:
    before, after = _run("plain", tmp_path), _run("seal", tmp_path)
    assert before[0].startswith("False ")
    assert after[0].startswith("True ")
    assert before[0].split(" ", 1)[1] == after[0].split(" ", 1)[1]
    assert after[1] == "refused"
