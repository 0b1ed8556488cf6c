"""Seccomp profiles as values: conditions, rules, actions, and the names that JSON gives them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ketch.errors import InvalidParameter, Unsupported

# Return values of a filter (linux/seccomp.h). As signed numbers the smaller is the stricter.
KILL_PROCESS = 0x80000000
KILL_THREAD = 0x00000000
TRAP = 0x00030000
ERRNO = 0x00050000
TRACE = 0x7FF00000
LOG = 0x7FFC0000
ALLOW = 0x7FFF0000

EPERM, ENOSYS = 1, 38
_LAST_ERRNO = 4095  # MAX_ERRNO: the kernel cuts larger ones
_LAST_TRACE = 0xFFFF  # SECCOMP_RET_DATA

_PLAIN_ACTIONS = {
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": TRAP,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_ALLOW": ALLOW,
}
_ACTIONS_WITH_VALUE = {
    "SCMP_ACT_ERRNO": (ERRNO, _LAST_ERRNO),
    "SCMP_ACT_TRACE": (TRACE, _LAST_TRACE),
}


class Op(Enum):
    """How an argument is compared; arguments are unsigned 64-bit numbers."""

    NE = "SCMP_CMP_NE"
    LT = "SCMP_CMP_LT"
    LE = "SCMP_CMP_LE"
    EQ = "SCMP_CMP_EQ"
    GE = "SCMP_CMP_GE"
    GT = "SCMP_CMP_GT"
    MASKED_EQ = "SCMP_CMP_MASKED_EQ"


@dataclass(frozen=True, slots=True)
class Condition:
    """``argument[index] op value``; for ``MASKED_EQ``: ``argument[index] & mask == value``."""

    index: int
    op: Op
    value: int
    mask: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens on these system calls when every condition holds."""

    names: tuple[str, ...]
    action: int
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """A whole profile, already decided for one container's capabilities and this machine.

    Where several rules fit a call, those with conditions go before those without; among equals
    the stricter action wins, as the kernel has it between filters (seccomp(2)).
    ``architectures`` are libseccomp's names; calls of any other ABI kill the process.
    """

    default: int
    architectures: tuple[str, ...]
    rules: tuple[Rule, ...]
    flags: tuple[str, ...] = ()


def action_of(name: str, value: int | None = None) -> int:
    """The return value for an action's JSON name; ``value`` is its errno or trace message.

    Raises ``InvalidParameter`` for unknown names and values out of range, ``Unsupported`` for
    ``SCMP_ACT_NOTIFY``, which needs an agent that listens.
    """
    if name == "SCMP_ACT_NOTIFY":
        raise Unsupported("seccomp action 'SCMP_ACT_NOTIFY' is not supported by ketch")
    if name in _PLAIN_ACTIONS:
        return _PLAIN_ACTIONS[name]
    if name not in _ACTIONS_WITH_VALUE:
        raise InvalidParameter(f"seccomp profile: unknown action '{name}'")
    base, last = _ACTIONS_WITH_VALUE[name]
    data = EPERM if value is None else value
    if not 0 <= data <= last:
        raise InvalidParameter(f"seccomp profile: errnoRet {data} is not within 0 to {last}")
    return base | data


def name_of_action(action: int) -> tuple[str, int | None]:
    """What ``action_of`` takes for this return value."""
    for name, value in _PLAIN_ACTIONS.items():
        if action == value:
            return name, None
    for name, (base, last) in _ACTIONS_WITH_VALUE.items():
        if action & ~last == base:
            return name, action & last
    raise InvalidParameter(f"seccomp profile: no action returns {action:#x}")


def op_of(name: str) -> Op:
    """The comparison of a JSON name; raises ``InvalidParameter``."""
    try:
        return Op(name)
    except ValueError:
        raise InvalidParameter(f"seccomp profile: unknown operator '{name}'") from None


def strictness(action: int) -> int:
    """Sorts actions, strictest first: the kernel compares them as signed 32-bit numbers."""
    return action - (1 << 32) if action & KILL_PROCESS else action
