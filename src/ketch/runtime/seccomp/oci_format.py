"""``linux.seccomp`` of the OCI runtime configuration (config-linux.md, "Seccomp"), both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ketch.errors import Unsupported
from ketch.runtime.seccomp import json_fields as f
from ketch.runtime.seccomp.rules import Condition, Op, Profile, Rule, action_of, name_of_action

_LISTENER = ("listenerPath", "listenerMetadata")
DOCUMENT = frozenset(
    ("defaultAction", "defaultErrnoRet", "architectures", "flags", "syscalls", *_LISTENER)
)
RULE = frozenset(("names", "action", "errnoRet", "args"))


def read_seccomp(value: Any) -> Profile:
    """The object as a profile; strict: what is unknown is refused by name.

    Raises ``InvalidParameter``, and ``Unsupported`` for a listener of notifications.
    """
    given = f.fields(value, "linux.seccomp", DOCUMENT)
    rules = []
    for item in f.items(given.get("syscalls"), "syscalls"):
        members = f.fields(item, "syscalls", RULE)
        rules.append(rule(members, f.texts(members.get("names"), "names")))
    return top(given, f.architectures(given.get("architectures"), "architectures"), rules)


def rule(given: dict[str, Any], names: tuple[str, ...]) -> Rule:
    """One member of ``syscalls``."""
    errno = f.optional_number(given.get("errnoRet"), "errnoRet")
    action = action_of(f.text(given.get("action"), "action"), errno)
    return Rule(names, action, f.conditions(given.get("args")))


def top(given: dict[str, Any], architectures: tuple[str, ...], rules: Sequence[Rule]) -> Profile:
    """The profile around its rules."""
    for name in _LISTENER:
        if given.get(name):
            raise Unsupported(f"seccomp profile: '{name}' is not supported by ketch")
    errno = f.optional_number(given.get("defaultErrnoRet"), "defaultErrnoRet")
    default = action_of(f.text(given.get("defaultAction"), "defaultAction"), errno)
    return Profile(default, architectures, tuple(rules), f.texts(given.get("flags"), "flags"))


def write_seccomp(profile: Profile) -> dict[str, Any]:
    """The object that ``read_seccomp`` reads back as ``profile``."""
    action, value = name_of_action(profile.default)
    return {
        "defaultAction": action,
        **({} if value is None else {"defaultErrnoRet": value}),
        "architectures": list(profile.architectures),
        **({"flags": list(profile.flags)} if profile.flags else {}),
        "syscalls": [_written(rule) for rule in profile.rules],
    }


def _written(rule: Rule) -> dict[str, Any]:
    action, value = name_of_action(rule.action)
    return {
        "names": list(rule.names),
        "action": action,
        **({} if value is None else {"errnoRet": value}),
        "args": [_argument(condition) for condition in rule.conditions],
    }


def _argument(condition: Condition) -> dict[str, Any]:
    masked = condition.op is Op.MASKED_EQ
    return {
        "index": condition.index,
        "value": condition.mask if masked else condition.value,
        "valueTwo": condition.value if masked else 0,
        "op": condition.op.value,
    }
