"""The types of a bundle's members, as the OCI runtime specification has them (config.md,
config-linux.md of version 1.2).

A member that is null counts as missing, as in the programs written in Go; one that no table names
is for somebody else and not looked at.
"""

from ketch.errors import InvalidParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TEXT, NUMBER, TRUTH = "a string", "an integer", "true or false"
EACH = "*"  # the members of an object that have names of their own
_TEXTS = [TEXT]
_BY_NAME = {EACH: TEXT}
_ID_MAPPINGS = [{"containerID": NUMBER, "hostID": NUMBER, "size": NUMBER}]
_HOOKS = [{"path": TEXT, "args": _TEXTS, "env": _TEXTS, "timeout": NUMBER}]
_RATES = [{"major": NUMBER, "minor": NUMBER, "rate": NUMBER}]

RESOURCES: "Any" = {
    "devices": [{"allow": TRUTH, "type": TEXT, "major": NUMBER, "minor": NUMBER, "access": TEXT}],
    "memory": {
        "limit": NUMBER, "reservation": NUMBER, "swap": NUMBER, "kernel": NUMBER,
        "kernelTCP": NUMBER, "swappiness": NUMBER, "disableOOMKiller": TRUTH,
        "useHierarchy": TRUTH, "checkBeforeUpdate": TRUTH,
    },
    "cpu": {
        "shares": NUMBER, "quota": NUMBER, "burst": NUMBER, "period": NUMBER,
        "realtimeRuntime": NUMBER, "realtimePeriod": NUMBER, "cpus": TEXT, "mems": TEXT,
        "idle": NUMBER,
    },
    "pids": {"limit": NUMBER},
    "blockIO": {
        "weight": NUMBER, "leafWeight": NUMBER,
        "weightDevice": [
            {"major": NUMBER, "minor": NUMBER, "weight": NUMBER, "leafWeight": NUMBER}
        ],
        "throttleReadBpsDevice": _RATES, "throttleWriteBpsDevice": _RATES,
        "throttleReadIOPSDevice": _RATES, "throttleWriteIOPSDevice": _RATES,
    },
    "hugepageLimits": [{"pageSize": TEXT, "limit": NUMBER}],
    "network": {"classID": NUMBER, "priorities": [{"name": TEXT, "priority": NUMBER}]},
    "rdma": {EACH: {"hcaHandles": NUMBER, "hcaObjects": NUMBER}},
    "unified": _BY_NAME,
}  # fmt: skip
PROCESS: "Any" = {
    "terminal": TRUTH,
    "consoleSize": {"height": NUMBER, "width": NUMBER},
    "user": {
        "uid": NUMBER, "gid": NUMBER, "umask": NUMBER, "additionalGids": [NUMBER],
        "username": TEXT,
    },
    "args": _TEXTS,
    "env": _TEXTS,
    "cwd": TEXT,
    "capabilities": {EACH: _TEXTS},
    "rlimits": [{"type": TEXT, "hard": NUMBER, "soft": NUMBER}],
    "noNewPrivileges": TRUTH,
    "apparmorProfile": TEXT,
    "selinuxLabel": TEXT,
    "oomScoreAdj": NUMBER,
    "scheduler": {},
    "ioPriority": {},
}  # fmt: skip
CONFIG: "Any" = {
    "ociVersion": TEXT,
    "hostname": TEXT,
    "domainname": TEXT,
    "root": {"path": TEXT, "readonly": TRUTH},
    "process": PROCESS,
    "mounts": [
        {
            "destination": TEXT, "type": TEXT, "source": TEXT, "options": _TEXTS,
            "uidMappings": _ID_MAPPINGS, "gidMappings": _ID_MAPPINGS,
        }
    ],
    "annotations": _BY_NAME,
    "hooks": {EACH: _HOOKS},
    "linux": {
        "namespaces": [{"type": TEXT, "path": TEXT}],
        "uidMappings": _ID_MAPPINGS,
        "gidMappings": _ID_MAPPINGS,
        "timeOffsets": {EACH: {"secs": NUMBER, "nanosecs": NUMBER}},
        "devices": [
            {
                "type": TEXT, "path": TEXT, "major": NUMBER, "minor": NUMBER, "fileMode": NUMBER,
                "uid": NUMBER, "gid": NUMBER,
            }
        ],
        "cgroupsPath": TEXT,
        "resources": RESOURCES,
        "sysctl": _BY_NAME,
        "seccomp": {
            "defaultAction": TEXT, "defaultErrnoRet": NUMBER, "architectures": _TEXTS,
            "flags": _TEXTS, "listenerPath": TEXT, "listenerMetadata": TEXT,
            "syscalls": [
                {
                    "names": _TEXTS, "action": TEXT, "errnoRet": NUMBER,
                    "args": [
                        {"index": NUMBER, "value": NUMBER, "valueTwo": NUMBER, "op": TEXT}
                    ],
                }
            ],
        },
        "rootfsPropagation": TEXT,
        "maskedPaths": _TEXTS,
        "readonlyPaths": _TEXTS,
        "mountLabel": TEXT,
        "personality": {"domain": TEXT, "flags": _TEXTS},
    },
}  # fmt: skip


def check(value: "Any", shape: "Any", place: str) -> None:
    """Raise ``InvalidParameter`` naming the first member that is not what it has to be.

    ``place`` is the name of ``value`` itself, empty for the whole configuration.
    """
    if value is None:
        return
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise _wrong(place, "an object", value)
        for name, inner in value.items():
            known = shape.get(name, shape.get(EACH))
            if known is not None:
                check(inner, known, f"{place}.{name}" if place else name)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise _wrong(place, "a list", value)
        for number, inner in enumerate(value):
            if inner is None:
                raise _wrong(f"{place}[{number}]", "a value", inner)
            check(inner, shape[0], f"{place}[{number}]")
    elif shape == TEXT:
        _check_text(value, place)
    elif shape == NUMBER:
        _check_number(value, place)
    elif not isinstance(value, bool):
        raise _wrong(place, TRUTH, value)


def _check_text(value: "Any", place: str) -> None:
    if not isinstance(value, str):
        raise _wrong(place, TEXT, value)
    if "\0" in value:
        raise InvalidParameter(f"{place} has a NUL character: {value[:80]!r}")


def _check_number(value: "Any", place: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(place, NUMBER, value)
    if not -(1 << 63) <= value < 1 << 64:
        raise InvalidParameter(f"{place} is out of range: {value}")


def _wrong(place: str, wanted: str, value: "Any") -> InvalidParameter:
    shown = repr(value)[:80]
    if isinstance(value, dict | list):
        shown = "an object" if isinstance(value, dict) else "a list"
    return InvalidParameter(f"{place} must be {wanted}, not {shown}")
