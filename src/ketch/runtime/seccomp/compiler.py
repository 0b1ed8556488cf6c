"""Profiles made into BPF programs, kept as files by the digest of what they were made of.

libseccomp gives the numbers; the program is laid out here, because libseccomp cannot express a
condition on socket(2)'s family for i386: it allows the call, and socketcall(2), for every family.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets

from ketch.errors import InvalidParameter
from ketch.runtime.seccomp import bpf
from ketch.runtime.seccomp.numbers import X32_BIT, Abi, library_version, native_abis, number_of
from ketch.runtime.seccomp.rules import ENOSYS, ERRNO, KILL_PROCESS, Profile, Rule, strictness

_LAYOUT = 1  # raised with every change of what is made of the same profile
_MOST = 4096  # BPF_MAXINSNS
_ACTION = 0xFFFF0000  # SECCOMP_RET_ACTION_FULL
_X86_64 = 0xC000003E  # AUDIT_ARCH_X86_64


def compile_profile(profile: Profile, folder: str) -> str:
    """The path of the profile's program below ``folder`` (made, mode 0700), compiled once.

    Raises ``InvalidParameter`` when the program is longer than the kernel takes, ``Unavailable``
    without libseccomp.
    """
    path = f"{folder}/{_digest(profile)}.bpf"
    if not is_program(path):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        _write(path, program(profile))
    return path


def is_program(path: str) -> bool:
    """Whether a whole program is there; a file cut short by a crash is none."""
    try:
        size = os.stat(path).st_size
    except FileNotFoundError:
        return False
    return size > 0 and size % 8 == 0


def program(profile: Profile) -> bytes:
    """The BPF of a profile; a call of an ABI that it does not name kills the process."""
    code = _by_architecture(profile, native_abis(profile.architectures))
    if len(code) > _MOST:
        raise InvalidParameter(
            f"the seccomp profile needs {len(code)} BPF instructions; the kernel takes {_MOST}"
        )
    return bpf.assemble(code)


def _by_architecture(profile: Profile, abis: list[Abi]) -> bpf.Code:
    code = [bpf.Instruction(bpf.LOAD, bpf.ARCHITECTURE)]
    for audit in dict.fromkeys(abi.audit for abi in abis):
        spans: dict[int, bpf.Code] = {}
        if audit == _X86_64:
            spans[X32_BIT] = bpf.answer(KILL_PROCESS)
        for abi in abis:
            if abi.audit == audit:
                spans.update(_spans(profile, abi))
        load = bpf.Instruction(bpf.LOAD, bpf.NUMBER)
        body = [load, *bpf.search(_merged(sorted(spans.items())))]
        code += [bpf.Instruction(bpf.JEQ, audit, 1, 0), bpf.Instruction(bpf.JUMP, len(body)), *body]
    return code + bpf.answer(KILL_PROCESS)


def _spans(profile: Profile, abi: Abi) -> dict[int, bpf.Code]:
    """(first number, code) of one ABI; calls newer than any that is named do not exist (ENOSYS).

    A program that probes for a new call falls back on ENOSYS, not on EPERM; runc does the same.
    """
    start = X32_BIT if abi.name == "SCMP_ARCH_X32" else 0
    default = bpf.answer(profile.default)
    rules = _rules_by_number(profile, abi)
    refused = (profile.default & _ACTION) == ERRNO
    spans = {start: default, max(rules, default=start) + 1: default}
    if refused:
        spans[max(rules, default=start) + 1] = bpf.answer(ERRNO | ENOSYS)
    for number, chain in rules.items():
        spans[number] = bpf.rule_chain(chain, profile.default)
        if number + 1 not in rules:
            spans.setdefault(number + 1, default)
    return spans


def _rules_by_number(profile: Profile, abi: Abi) -> dict[int, list[Rule]]:
    """Rules of each number in the order of evaluation; names that the ABI lacks are left out."""
    found: dict[int, list[Rule]] = {}
    for rule in profile.rules:
        for name in rule.names:
            number = number_of(abi, name)
            if number is not None:
                found.setdefault(number, []).append(rule)
    for rules in found.values():
        rules.sort(key=lambda rule: (not rule.conditions, strictness(rule.action)))
    return found


def _merged(spans: list[tuple[int, bpf.Code]]) -> list[tuple[int, bpf.Code]]:
    """Neighbours with the same code become one span."""
    merged = spans[:1]
    for first, code in spans[1:]:
        if code != merged[-1][1]:
            merged.append((first, code))
    return merged


def _digest(profile: Profile) -> str:
    made_of = (_LAYOUT, platform.machine(), library_version(), profile)
    return hashlib.sha256(repr(made_of).encode()).hexdigest()


def _write(path: str, content: bytes) -> None:
    """Whole or not at all: an empty file would mean no filter."""
    temporary = f"{path}.{secrets.token_hex(4)}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, content)
        os.fsync(fd)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)
