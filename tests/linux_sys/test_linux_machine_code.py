"""The machine code that the project carries is what its sources say."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ketch.linux import machine_code, resharing

SOURCES = Path(__file__).parents[2] / "packaging" / "machine_code"
CARRIED = {"script": machine_code._CODE, "resharing": resharing._CODE}


def test_each_source_is_carried() -> None:
    assert {path.stem for path in SOURCES.iterdir()} == set(CARRIED)


@pytest.mark.skipif(not shutil.which("as"), reason="no assembler (binutils)")
@pytest.mark.skipif(machine_code.load() is None, reason="the code is for x86-64")
@pytest.mark.parametrize("name", CARRIED)
def test_the_code_is_what_its_source_says(name: str, tmp_path: Path) -> None:
    thing, code = tmp_path / "code.o", tmp_path / "code.bin"
    subprocess.run(["as", SOURCES / f"{name}.s", "-o", thing], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", thing, code], check=True)
    assert code.read_bytes() == CARRIED[name]
