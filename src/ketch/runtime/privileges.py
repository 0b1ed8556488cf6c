"""What a process may do: user, groups, capabilities, limits, seccomp, as calls of a script.

Order matters. Without no_new_privs, loading a filter needs CAP_SYS_ADMIN, so it is loaded before
the last capset(2); with it, last of all. After the filter only capset, prctl, close_range and
execve are called.
"""

import ctypes
import resource

from ketch.errors import StartFailed
from ketch.linux import capabilities, process, seccomp
from ketch.linux.script import ELSE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.linux.script import Script
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


def set_limits(script: "Script", limits: "list[dict[str, Any]]") -> None:
    """OCI ``rlimits``; a hard limit that cannot be raised stays, and caps the soft one."""
    for limit in limits:
        name = str(limit.get("type"))
        number = getattr(resource, name, None) if name.startswith("RLIMIT_") else None
        if not isinstance(number, int):
            raise StartFailed(f"unknown resource limit {name}", 128)
        _set_limit(script, number, _value(limit.get("soft")), _value(limit.get("hard")), name)


def _set_limit(script: "Script", number: int, soft: int, hard: int, name: str) -> None:
    """prlimit(2), clamped to the present hard limit without CAP_SYS_RESOURCE."""
    cap = _lower(hard, resource.getrlimit(number)[1])
    wanted = script.keep((ctypes.c_int64 * 2)(soft, hard))
    clamped = script.keep((ctypes.c_int64 * 2)(_lower(soft, cap), cap))
    script.call("prlimit64", 0, number, wanted, 0, failing=ELSE, what=name)
    script.call("prlimit64", 0, number, clamped, 0, what=name)


def _lower(value: int, cap: int) -> int:
    if cap == resource.RLIM_INFINITY:
        return value
    return cap if value == resource.RLIM_INFINITY else min(value, cap)


def _value(given: "int | None") -> int:
    if given is None or given < 0 or given >= _INFINITY:
        return resource.RLIM_INFINITY
    return given


def become(script: "Script", identity: "Identity", wanted: "dict[str, Any]") -> None:
    """Give up everything that the process is not granted; nothing privileged works afterwards."""
    held = held_capabilities()
    grant = Grant(wanted.get("capabilities"), held)
    no_new_privileges = bool(wanted.get("noNewPrivileges"))
    program: bytes = wanted.get("seccomp") or b""
    groups = script.keep((ctypes.c_uint32 * len(identity.groups))(*identity.groups))
    script.call("setgroups", len(identity.groups), groups)
    script.call("setresgid", identity.gid, identity.gid, identity.gid)
    for number in capabilities.numbers(held & ~grant.bounding):
        script.call("prctl", capabilities.PR_CAPBSET_DROP, number, 0, 0, 0)
    script.call("prctl", capabilities.PR_CAP_AMBIENT, capabilities.AMBIENT_CLEAR_ALL, 0, 0, 0)
    script.call("prctl", process.PR_SET_KEEPCAPS, 1, 0, 0, 0)
    script.call("setresuid", identity.uid, identity.uid, identity.uid)
    script.call("prctl", process.PR_SET_KEEPCAPS, 0, 0, 0, 0)
    if program and not no_new_privileges:
        _keep_until_filtered(script, grant)
        seccomp.load_filter(script, program, wanted.get("seccomp_flags") or 0)
    _set(script, grant.effective, grant.permitted, grant.inheritable)
    for number in capabilities.numbers(grant.ambient):
        script.call("prctl", capabilities.PR_CAP_AMBIENT, capabilities.AMBIENT_RAISE, number, 0, 0)
    if wanted.get("parent_death_signal", process.SIGKILL):
        script.call("prctl", process.PR_SET_PDEATHSIG, process.SIGKILL, 0, 0, 0)
    if no_new_privileges:
        script.call("prctl", process.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    script.call("close_range", wanted["stdio_count"], process.LAST_FD, process.CLOSE_RANGE_CLOEXEC)
    if program and no_new_privileges:
        seccomp.load_filter(script, program, wanted.get("seccomp_flags") or 0)


def _keep_until_filtered(script: "Script", grant: Grant) -> None:
    """The final sets with CAP_SYS_ADMIN on top (and back in effect after a change of user)."""
    _, permitted, _ = capabilities.get()
    keep = (grant.permitted | capabilities.SYS_ADMIN) & permitted
    _set(script, keep, keep, grant.inheritable)


def _set(script: "Script", effective: int, permitted: int, inheritable: int) -> None:
    sets = capabilities.data(effective, permitted, inheritable)
    script.call("capset", script.keep(capabilities.header()), script.keep(sets))
