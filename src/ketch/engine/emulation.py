"""Whether programs of another platform run here: by an interpreter that binfmt_misc knows
(Documentation/admin-guide/binfmt-misc.rst)."""

from __future__ import annotations

import os

from ketch.errors import InvalidParameter
from ketch.oci import platform as platforms
from ketch.oci.platform import Platform

REGISTERED = "/proc/sys/fs/binfmt_misc"
_MACHINES = {  # e_machine of ELF (elf.h), in the byte order of the platform
    "amd64": b"\x3e\x00",
    "386": b"\x03\x00",
    "arm": b"\x28\x00",
    "arm64": b"\xb7\x00",
    "loong64": b"\x02\x01",
    "mips64le": b"\x08\x00",
    "ppc64le": b"\x15\x00",
    "riscv64": b"\xf3\x00",
    "s390x": b"\x00\x16",
}
_LEVELS = (  # of the x86-64 psABI: what each adds, as /proc/cpuinfo calls it
    ("v2", "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"),
    ("v3", "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"),
    ("v4", "avx512f avx512bw avx512cd avx512dq avx512vl"),
)
_CPUS = "/proc/cpuinfo"
_MACHINE_AT = 18  # of the ELF header


def check_runs(platform: str, registered: str = REGISTERED) -> None:
    """Raises ``InvalidParameter`` when a step's programs can't run on this machine."""
    if not platform:
        return
    wanted = platforms.parse(platform)
    if reason := lacking(wanted, registered):
        raise InvalidParameter(f"RUN for {wanted} can't run on {platforms.host()}: {reason}")


def runnable(registered: str = REGISTERED, cpus: str = _CPUS) -> list[Platform]:
    """The platforms whose programs run on this machine, its own first."""
    host, *older = platforms.accepted(platforms.host())
    native = [host, *_levels(host, cpus), *older]
    known = {found.architecture for found in native}
    others = [platforms.parse(f"linux/{name}") for name in _MACHINES if name not in known]
    return [*native, *(other for other in others if not lacking(other, registered))]


def _levels(host: Platform, cpus: str) -> list[Platform]:
    """Those of x86-64 that this processor has, which say more than the architecture's name."""
    try:
        with open(cpus) as file:
            line = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return []
    flags, found = set(line.split()), []
    for level, needed in _LEVELS if host.architecture == "amd64" else ():
        if not flags.issuperset(needed.split()):
            break
        found.append(Platform(os=host.os, architecture=host.architecture, variant=level))
    return found


def lacking(wanted: Platform, registered: str = REGISTERED) -> str:
    """Why programs of a platform can't run on this machine; "" when they can.

    Interpreters are only found from inside of a container when they were opened beforehand: the
    flag F.
    """
    host = platforms.host()
    if wanted.architecture == host.architecture or platforms.choose([wanted], host) is not None:
        return ""
    code = _MACHINES.get(wanted.architecture)
    if code is not None and any(_runs(text, code) for text in _entries(registered)):
        return ""
    return (
        f"no interpreter for {wanted} is registered in {registered} with the flag F (Debian's"
        " qemu-user-static registers them)"
    )


def _entries(registered: str) -> list[str]:
    found = []
    try:
        for name in os.listdir(registered):
            if name not in ("register", "status"):
                with open(f"{registered}/{name}") as file:
                    found.append(file.read())
    except OSError:
        return []
    return found


def _runs(text: str, code: bytes) -> bool:
    """Whether an entry is for such programs: its magic has their machine where ELF has it."""
    fields = dict(line.partition(" ")[::2] for line in text.splitlines())
    if not text.startswith("enabled") or "F" not in fields.get("flags:", ""):
        return False
    try:
        magic, offset = bytes.fromhex(fields.get("magic", "")), int(fields.get("offset", "0"))
    except ValueError:
        return False
    start = _MACHINE_AT - offset
    return start >= 0 and magic[start : start + 2] == code
