"""ELF files: real ones, and ones that nobody should trust."""

from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ketch.linux import elf

SHELL = os.path.realpath("/bin/sh")
with open(SHELL, "rb") as _file:
    REAL = _file.read()


def read(data: bytes) -> elf.Elf:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return elf.read(file.fileno())


def test_the_machines_own_shell() -> None:
    found = read(REAL)
    assert elf.runs_here(found.machine)
    assert os.path.exists(found.interpreter)
    assert any(name.startswith("libc.so") for name in found.needed)


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF", REAL[:64], REAL[:200]])
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(ValueError, match="ELF"):
        read(data)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(4, 1500), st.binary(min_size=1, max_size=8)), max_size=12))
def test_damage_is_a_value_error_at_most(damage: list[tuple[int, bytes]]) -> None:
    data = bytearray(REAL)
    for position, patch in damage:
        data[position : position + len(patch)] = patch
    try:
        found = read(bytes(data))
    except (ValueError, OSError):
        return
    assert len(found.needed) <= 4096
