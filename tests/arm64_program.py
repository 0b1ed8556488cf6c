"""A program for another machine, so small that no compiler for it is needed."""

from __future__ import annotations

import struct

_BASE, _HEADERS = 0x400000, 64 + 56
_SVC = 0xD4000001


def arm64_program() -> bytes:
    """A static ELF of 64 bits for arm64: it writes what uname(2) calls the machine, and ends
    with 7."""
    code = [
        0xD10803FF,  # sub sp, sp, #0x200
        0x910003E0,  # mov x0, sp
        _movz(8, 160), _SVC,  # uname
        0x910413E9,  # add x9, sp, #260: the fifth of six strings of 65 bytes
        _movz(0, 1),
        0xAA0903E1,  # mov x1, x9
        _movz(2, 7),
        _movz(8, 64), _SVC,  # write
        _movz(0, 7),
        _movz(8, 93), _SVC,  # exit
    ]  # fmt: skip
    body = struct.pack(f"<{len(code)}I", *code)
    size = _HEADERS + len(body)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf = (2, 183, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    load = (1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return ident + struct.pack("<HHIQQQIHHHHHH", *elf) + struct.pack("<IIQQQQQQ", *load) + body


def _movz(register: int, value: int) -> int:
    return 0xD2800000 | value << 5 | register
