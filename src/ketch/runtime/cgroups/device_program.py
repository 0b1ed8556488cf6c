"""Device rules of a cgroup v2 directory: rules compiled to an eBPF program.

The kernel calls the program with struct bpf_cgroup_dev_ctx (access_type: low half the kind, high
half the access; major; minor) and opens the device when it returns 1. The last matching rule
decides, as writes to v1's files in order do, so rules are tested from the last to the first.
"""

import os
from struct import pack

from ketch.linux import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KINDS = {"b": 1, "c": 2, "u": 2}  # BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_DEV_CHAR
_ACCESS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_MKNOD, READ, WRITE
_LOAD_WORD, _MOVE, _AND, _SHIFT_RIGHT = 0x61, 0xBF, 0x54, 0x74
_MOVE_IMMEDIATE, _JUMP_EQUAL, _JUMP_NOT_EQUAL, _EXIT = 0xB7, 0x15, 0x55, 0x95


def _instruction(code: int, registers: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    """One struct bpf_insn; ``registers`` is source << 4 | destination."""
    return pack("<BBhi", code, registers, offset, immediate)


def compile_rules(rules: "list[dict[str, Any]]") -> bytes:
    """The program: r2 = kind, r3 = access, r4 = major, r5 = minor; refuse when no rule matches."""
    program = [
        _instruction(_LOAD_WORD, 0x12, 0),  # r2 = context->access_type
        _instruction(_MOVE, 0x23),  # r3 = r2
        _instruction(_AND, 0x02, 0, 0xFFFF),
        _instruction(_SHIFT_RIGHT, 0x03, 0, 16),
        _instruction(_LOAD_WORD, 0x14, 4),  # r4 = context->major
        _instruction(_LOAD_WORD, 0x15, 8),  # r5 = context->minor
    ]
    for rule in reversed(rules):
        code = _rule(rule)
        program.append(code)
        if len(code) == len(_answer(True)):
            break  # it tests nothing: what follows would be unreachable, which the verifier refuses
    else:
        program.append(_answer(False))
    return b"".join(program)


def _answer(allow: bool) -> bytes:
    return _instruction(_MOVE_IMMEDIATE, 0, 0, int(allow)) + _instruction(_EXIT)


def _rule(rule: "dict[str, Any]") -> bytes:
    """Tests that jump over the answer when they fail."""
    answer = _answer(bool(rule.get("allow")))
    tests: list[tuple[int, int]] = []  # (register, wanted)
    kind = _KINDS.get(rule.get("type") or "a")
    if kind is not None:
        tests.append((2, kind))
    for register, key in ((4, "major"), (5, "minor")):
        value = rule.get(key)
        if value is not None and value >= 0:
            tests.append((register, value))
    access = 0
    for letter in rule.get("access") or "rwm":
        access |= _ACCESS[letter]
    return _guards(tests, access, bool(rule.get("allow"))) + answer


def _guards(tests: "list[tuple[int, int]]", access: int, allow: bool) -> bytes:
    """The tests, the access test last; each jumps behind the two instructions of the answer."""
    tail = _access_test(access, allow)
    code = b""
    for index, (register, wanted) in enumerate(tests):
        between = len(tests) - index - 1 + len(tail) // 8
        code += _instruction(_JUMP_NOT_EQUAL, register, between + 2, wanted)
    return code + tail


def _access_test(access: int, allow: bool) -> bytes:
    """An allowing rule must cover all that is asked; a denying one applies if it hits any of it."""
    if access == 7:
        return b""
    bits, jump = (7 & ~access, _JUMP_NOT_EQUAL) if allow else (access, _JUMP_EQUAL)
    return (
        _instruction(_MOVE, 0x31)  # r1 = r3
        + _instruction(_AND, 0x01, 0, bits)
        + _instruction(jump, 0x01, 2, 0)
    )


def attach(directory: str, rules: "list[dict[str, Any]]") -> None:
    """Compile, load and attach to a cgroup v2 directory; raises OSError."""
    program = bpf.load_device_program(compile_rules(rules))
    cgroup = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        bpf.attach_device_program(cgroup, program)
    finally:
        os.close(cgroup)
        os.close(program)
