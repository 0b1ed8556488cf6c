"""What the kernel and the dynamic loader read of an ELF file (elf(5), ld.so(8)).

For files that nobody vouches for: every size is bounded, and what makes no sense raises
``ValueError``. Names and paths come as text.
"""

import os
import struct

_MACHINES = {
    3: "386", 20: "ppc", 21: "ppc64le", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64",
    243: "riscv64", 258: "loong64", 8: "mips",
}  # fmt: skip
_HOST_MACHINES = {"x86_64": 62, "aarch64": 183, "armv7l": 40, "i686": 3, "riscv64": 243,
                  "s390x": 22, "ppc64le": 21, "loongarch64": 258}  # fmt: skip
_ALSO_RUN = {62: (3,), 183: (40,)}  # 32-bit programs on a 64-bit kernel
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_STRSZ, _DT_RPATH, _DT_RUNPATH = 1, 5, 10, 15, 29
_MOST_HEADERS, _MOST_DYNAMIC, _LONGEST_TABLE, _LONGEST_PATH = 512, 4096, 4 << 20, 4096
_PF_FIELDS_64, _PF_FIELDS_32 = (0, 2, 3, 5), (0, 1, 2, 4)  # type, offset, vaddr, filesz


class Elf:
    """``machine`` is a number of e_machine; ``interpreter`` is empty for a static program."""

    __slots__ = ("interpreter", "is64", "machine", "needed", "rpath", "runpath")

    def __init__(self, machine: int, is64: bool) -> None:
        self.machine = machine
        self.is64 = is64
        self.interpreter = ""
        self.needed: list[str] = []
        self.rpath = ""
        self.runpath = ""


def architecture(machine: int) -> str:
    """The name that images use, or the number."""
    return _MACHINES.get(machine, f"machine {machine}")


def runs_here(machine: int) -> bool:
    """Whether the kernel itself executes it (binfmt_misc may know others)."""
    own = _HOST_MACHINES.get(os.uname().machine, machine)
    return machine == own or machine in _ALSO_RUN.get(own, ())


def read(fd: int) -> Elf:
    """Raises ``ValueError`` for what is no ELF file, or a broken one."""
    ident = os.pread(fd, 64, 0)
    if ident[:4] != b"\x7fELF" or len(ident) < 52 or ident[4] not in (1, 2):
        raise ValueError("no ELF file")
    is64, order = ident[4] == 2, "<" if ident[5] == 1 else ">"
    (machine,) = struct.unpack_from(order + "H", ident, 18)
    found = Elf(machine, is64)
    try:
        segments = _segments(fd, ident, is64, order)
        _read_interpreter(fd, found, segments)
        _read_dynamic(fd, found, segments, order)
    except struct.error:
        raise ValueError("the ELF file is cut off") from None
    except OverflowError:
        raise ValueError("the ELF file refers to what is beyond any file") from None
    return found


def _segments(fd: int, ident: bytes, is64: bool, order: str) -> "list[tuple[int, int, int, int]]":
    """(type, offset, address, size in the file) of each."""
    (start,) = struct.unpack_from(order + ("Q" if is64 else "I"), ident, 32 if is64 else 28)
    size, count = struct.unpack_from(order + "HH", ident, 54 if is64 else 42)
    form = order + ("IIQQQQQQ" if is64 else "IIIIIIII")
    if count > _MOST_HEADERS or size < struct.calcsize(form):
        raise ValueError("the ELF file has an impossible program header table")
    table = os.pread(fd, size * count, start)
    fields = _PF_FIELDS_64 if is64 else _PF_FIELDS_32
    found = []
    for index in range(count):
        values = struct.unpack_from(form, table, index * size)
        kind, offset, address, length = (values[field] for field in fields)
        found.append((kind, offset, address, length))
    return found


def _read_interpreter(fd: int, found: Elf, segments: "list[tuple[int, int, int, int]]") -> None:
    for kind, offset, _, length in segments:
        if kind == _PT_INTERP:
            data = os.pread(fd, min(length, _LONGEST_PATH), offset)
            found.interpreter = os.fsdecode(data.partition(b"\0")[0])


def _read_dynamic(
    fd: int, found: Elf, segments: "list[tuple[int, int, int, int]]", order: str
) -> None:
    dynamic = next((s for s in segments if s[0] == _PT_DYNAMIC), None)
    if dynamic is None:
        return
    entries = _dynamic_entries(fd, dynamic, order + ("qQ" if found.is64 else "iI"))
    single = dict(entries)
    offset = _file_offset(single.get(_DT_STRTAB, 0), segments)
    size = min(single.get(_DT_STRSZ, 0), _LONGEST_TABLE)
    strings = os.pread(fd, size, offset)
    found.needed = [_string(strings, value) for tag, value in entries if tag == _DT_NEEDED]
    if _DT_RPATH in single:
        found.rpath = _string(strings, single[_DT_RPATH])
    if _DT_RUNPATH in single:
        found.runpath = _string(strings, single[_DT_RUNPATH])


def _dynamic_entries(
    fd: int, segment: "tuple[int, int, int, int]", form: str
) -> "list[tuple[int, int]]":
    size = struct.calcsize(form)
    data = os.pread(fd, min(segment[3], size * _MOST_DYNAMIC), segment[1])
    entries: list[tuple[int, int]] = []
    for position in range(0, len(data) - size + 1, size):
        tag, value = struct.unpack_from(form, data, position)
        if tag == 0:
            break
        entries.append((tag, value))
    return entries


def _file_offset(address: int, segments: "list[tuple[int, int, int, int]]") -> int:
    for kind, offset, start, length in segments:
        if kind == _PT_LOAD and start <= address < start + length:
            return offset + address - start
    raise ValueError("the ELF file's strings are nowhere")


def _string(table: bytes, start: int) -> str:
    end = table.find(b"\0", start)
    if not 0 <= start < len(table) or end < 0 or end - start > _LONGEST_PATH:
        raise ValueError("the ELF file has a string outside its table")
    return os.fsdecode(table[start:end])
