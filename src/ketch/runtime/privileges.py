"""What a process may do: user, groups, capabilities, limits, seccomp (child side).

Order matters. Without no_new_privs, loading a filter needs CAP_SYS_ADMIN, so it is loaded before
the last capset(2); with it, last of all. After the filter only capset, prctl, close_range, execve
and write are called.
"""

import os
import resource

from ketch.errors import StartFailed
from ketch.linux import capabilities, process, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.runtime.users import Identity

_INFINITY = (1 << 64) - 1


_held: "int | None" = None


def held_capabilities() -> int:
    """The bounding set of this machine's root, found out once: what we fork inherits both."""
    global _held
    if _held is None:
        _held = capabilities.bounding()
    return _held


class Grant:
    """The five capability sets as masks, cut down to what this machine's root has itself."""

    __slots__ = ("ambient", "bounding", "effective", "inheritable", "permitted")

    def __init__(self, sets: "dict[str, list[str]] | None", held: int) -> None:
        given = {kind: known_mask(names) & held for kind, names in (sets or {}).items()}
        self.bounding = given.get("bounding", 0)
        self.permitted = given.get("permitted", 0) & self.bounding
        self.effective = given.get("effective", 0) & self.permitted
        self.inheritable = given.get("inheritable", 0) & self.bounding
        self.ambient = given.get("ambient", 0) & self.inheritable & self.permitted


def known_mask(names: "list[str] | None") -> int:
    """The mask of the names that exist; a name that no kernel has raises ``StartFailed``."""
    try:
        return capabilities.mask(names or ())
    except KeyError as error:
        raise StartFailed(f"unknown capability {error.args[0]}", 128) from None


def set_limits(limits: "list[dict[str, Any]]") -> None:
    """OCI ``rlimits``; a hard limit that cannot be raised stays, and caps the soft one."""
    for limit in limits:
        name = str(limit.get("type"))
        number = getattr(resource, name, None) if name.startswith("RLIMIT_") else None
        if not isinstance(number, int):
            raise StartFailed(f"unknown resource limit {name}", 128)
        set_limit(number, _value(limit.get("soft")), _value(limit.get("hard")))


def set_limit(number: int, soft: int, hard: int) -> None:
    """setrlimit(2), clamped to the present hard limit without CAP_SYS_RESOURCE."""
    try:
        resource.setrlimit(number, (soft, hard))
    except (ValueError, OSError):
        present = resource.getrlimit(number)[1]
        hard = _lower(hard, present)
        resource.setrlimit(number, (_lower(soft, hard), hard))


def _lower(value: int, cap: int) -> int:
    if cap == resource.RLIM_INFINITY:
        return value
    return cap if value == resource.RLIM_INFINITY else min(value, cap)


def _value(given: "int | None") -> int:
    if given is None or given < 0 or given >= _INFINITY:
        return resource.RLIM_INFINITY
    return given


def become(identity: "Identity", wanted: "dict[str, Any]") -> None:
    """Give up everything that the process is not granted; nothing privileged works afterwards."""
    held = held_capabilities()
    grant = Grant(wanted.get("capabilities"), held)
    no_new_privileges = bool(wanted.get("noNewPrivileges"))
    program: bytes = wanted.get("seccomp") or b""
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    capabilities.drop_bounding(grant.bounding, held)
    capabilities.clear_ambient()
    process.keep_capabilities(True)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    process.keep_capabilities(False)
    if program and not no_new_privileges:
        _keep_until_filtered(grant)
        seccomp.load_filter(program, wanted.get("seccomp_flags") or 0)
    capabilities.set_(grant.effective, grant.permitted, grant.inheritable)
    capabilities.raise_ambient(grant.ambient)
    if wanted.get("parent_death_signal", process.SIGKILL):
        process.die_with_parent(process.SIGKILL)
    if no_new_privileges:
        process.set_no_new_privileges()
    process.close_on_exec_from(wanted["stdio_count"])
    if program and no_new_privileges:
        seccomp.load_filter(program, wanted.get("seccomp_flags") or 0)


def _keep_until_filtered(grant: Grant) -> None:
    """The final sets with CAP_SYS_ADMIN on top (and back in effect after a change of user)."""
    _, permitted, _ = capabilities.get()
    keep = (grant.permitted | capabilities.SYS_ADMIN) & permitted
    capabilities.set_(keep, keep, grant.inheritable)
