"""Classic BPF over struct seccomp_data (seccomp(2)): conditions, rules, a tree of numbers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ketch.runtime.seccomp.rules import Condition, Op, Rule

LOAD, JUMP, RETURN, AND = 0x20, 0x05, 0x06, 0x54  # LD|W|ABS, JMP|JA, RET|K, ALU|AND|K
JEQ, JGT, JGE = 0x15, 0x25, 0x35

NUMBER, ARCHITECTURE = 0, 4  # offsets within struct seccomp_data
_ARGUMENTS = 16
_LOW = 0xFFFFFFFF

NEXT, MATCH, FAIL = 0, -1, -2  # where a condition's jump goes; resolved by ``_rule``


@dataclass(frozen=True, slots=True)
class Instruction:
    """struct sock_filter: operation, jumps when true and when false, constant."""

    code: int
    value: int
    true: int = 0
    false: int = 0


Code = list[Instruction]


def assemble(code: Sequence[Instruction]) -> bytes:
    """The program as the kernel takes it."""
    return b"".join(struct.pack("=HBBI", i.code, i.true, i.false, i.value) for i in code)


def answer(action: int) -> Code:
    """Leave the filter with this action."""
    return [Instruction(RETURN, action)]


def rule_chain(rules: Sequence[Rule], otherwise: int) -> Code:
    """The first rule whose conditions all hold decides; without one, ``otherwise``."""
    code: Code = []
    for rule in rules:
        code += _rule(rule)
        if not rule.conditions:
            return code
    return code + answer(otherwise)


def search(spans: Sequence[tuple[int, Code]]) -> Code:
    """A binary tree over the loaded number; ``spans`` are (first number, code), ascending.

    The first span takes everything below the second.
    """
    if len(spans) == 1:
        return spans[0][1]
    middle = len(spans) // 2
    left, right = search(spans[:middle]), search(spans[middle:])
    return _fork(spans[middle][0], left) + left + right


def _fork(first: int, left: Code) -> Code:
    if len(left) < 256:
        return [Instruction(JGE, first, len(left), 0)]
    return [Instruction(JGE, first, 0, 1), Instruction(JUMP, len(left))]  # jumps have 8 bits


def _rule(rule: Rule) -> Code:
    code: Code = []
    conditions = [_condition(condition) for condition in rule.conditions]
    length = sum(len(part) for part in conditions) + 1
    for part in conditions:
        end = len(code) + len(part)
        for instruction in part:
            code.append(_resolve(instruction, len(code) + 1, end, length))
    return code + answer(rule.action)


def _resolve(instruction: Instruction, after: int, end: int, length: int) -> Instruction:
    """Relative jumps: ``MATCH`` to the end of the condition, ``FAIL`` to the next rule."""
    distance = {NEXT: 0, MATCH: end - after, FAIL: length - after}
    return Instruction(
        instruction.code,
        instruction.value,
        distance[instruction.true],
        distance[instruction.false],
    )


def _condition(condition: Condition) -> Code:
    """Compare 64 bits in two words, the high one first (little-endian)."""
    low = _ARGUMENTS + 8 * condition.index
    head, tail = [Instruction(LOAD, low + 4)], [Instruction(LOAD, low)]
    if condition.op is Op.MASKED_EQ:
        head.append(Instruction(AND, condition.mask >> 32))
        tail.append(Instruction(AND, condition.mask & _LOW))
    high_value, low_value = condition.value >> 32, condition.value & _LOW
    first, last = _COMPARISONS[condition.op]
    head += [Instruction(code, high_value, *jumps) for code, *jumps in first]
    tail += [Instruction(code, low_value, *jumps) for code, *jumps in last]
    return head + tail


_Step = tuple[int, int, int]  # operation, where to when true, where to when false
_EQUAL: tuple[list[_Step], list[_Step]] = ([(JEQ, NEXT, FAIL)], [(JEQ, NEXT, FAIL)])
_ABOVE: list[_Step] = [(JGT, MATCH, NEXT), (JEQ, NEXT, FAIL)]
_BELOW: list[_Step] = [(JGT, FAIL, NEXT), (JEQ, NEXT, MATCH)]
_COMPARISONS: dict[Op, tuple[list[_Step], list[_Step]]] = {
    Op.EQ: _EQUAL,
    Op.MASKED_EQ: _EQUAL,
    Op.NE: ([(JEQ, NEXT, MATCH)], [(JEQ, FAIL, NEXT)]),
    Op.GT: (_ABOVE, [(JGT, NEXT, FAIL)]),
    Op.GE: (_ABOVE, [(JGE, NEXT, FAIL)]),
    Op.LT: (_BELOW, [(JGE, FAIL, NEXT)]),
    Op.LE: (_BELOW, [(JGT, FAIL, NEXT)]),
}
