"""Which devices a cgroup may open: OCI ``linux.resources.devices`` on v1 files."""

from ketch.runtime.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Rules = list[dict[str, Any]]


def rule_line(rule: "dict[str, Any]") -> str:
    """``c 1:3 rwm`` as devices.allow wants it; missing or negative numbers are ``*``."""
    kind = rule.get("type") or "a"
    if kind == "u":
        kind = "c"
    major, minor = (_number(rule.get(key)) for key in ("major", "minor"))
    return f"{kind} {major}:{minor} {rule.get('access') or 'rwm'}"


def _number(value: "int | None") -> str:
    return "*" if value is None or value < 0 else str(value)


def apply_v1(directory: str, rules: "Rules") -> None:
    """Deny and allow in the order given; ``a`` with everything replaces the whole list."""
    name = ""
    lines: list[str] = []
    for rule in rules:
        goes_to = "devices.allow" if rule.get("allow") else "devices.deny"
        if goes_to != name and lines:
            files.set_limits(directory, name, lines, "resources.devices")
            lines = []
        name = goes_to
        lines.append("a" if _is_everything(rule) else rule_line(rule))
    if lines:
        files.set_limits(directory, name, lines, "resources.devices")


def _is_everything(rule: "dict[str, Any]") -> bool:
    wild = all(_number(rule.get(key)) == "*" for key in ("major", "minor"))
    access = set(rule.get("access") or "rwm")
    return (rule.get("type") or "a") == "a" and wild and access >= set("rwm")
