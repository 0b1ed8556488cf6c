"""Capabilities of a container: the default set, with --cap-add and --cap-drop (pure)."""

from __future__ import annotations

from collections.abc import Iterable

from ketch.linux.capabilities import NAMES


def full_name(name: str) -> str:
    """``net_admin`` → ``CAP_NET_ADMIN``; ``all`` → ``ALL``."""
    upper = name.upper().removeprefix("CAP_")
    return upper if upper == "ALL" else f"CAP_{upper}"


def effective(
    default: Iterable[str],
    *,
    add: Iterable[str] = (),
    drop: Iterable[str] = (),
    privileged: bool = False,
) -> list[str]:
    """The set that the process gets, in the kernel's order.

    Docker's rules: privileged has everything, whatever is dropped; ``ALL`` in one list is cut by
    the names of the other.
    """
    added, dropped = {full_name(name) for name in add}, {full_name(name) for name in drop}
    if privileged:
        return list(NAMES)
    if "ALL" in added:
        chosen = set(NAMES) - dropped
    elif "ALL" in dropped:
        chosen = added
    else:
        chosen = (set(default) | added) - dropped
    return [name for name in NAMES if name in chosen]
