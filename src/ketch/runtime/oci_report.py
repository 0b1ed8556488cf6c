"""``state``, ``list``, ``ps``, ``features``, ``spec``: commands that only tell."""

import os

from ketch.errors import Conflict, InvalidParameter, NotFound
from ketch.linux import capabilities
from ketch.runtime import defaults, mount_options
from ketch.runtime import oci_state as state
from ketch.runtime.oci_state import OCI_VERSION, Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def pretty(value: object) -> str:
    """Indented JSON, for people."""
    import json

    return json.dumps(value, indent=2)


def views(root: str) -> "list[dict[str, Any]]":
    """The states of all containers, by ID."""
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        try:
            place = Place(root, name)
            found.append(state.view(place, place.load()))
        except (NotFound, InvalidParameter):
            continue  # being made or removed, or not ours
    return found


def table(rows: "list[dict[str, Any]]") -> str:
    """``list`` as columns."""
    keys = ("id", "pid", "status", "bundle", "created", "owner")
    lines = [tuple(key.upper() for key in keys)]
    lines += [tuple(str(row[key]) for key in keys) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(keys))]
    return "\n".join(
        "   ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def pids(place: "Place") -> "list[int]":
    """The container's processes; raises ``NotFound``, ``Conflict``."""
    record = place.load()
    if state.status(place, record) == "stopped":
        raise Conflict("container not running")
    return state.cgroup_of(record).pids()


def ps_table(wanted: "list[int]", options: "list[str]") -> str:
    """The lines of ps(1) about these processes."""
    import subprocess

    command = ["ps", *(options or ["-ef"])]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    head = lines[0].split()
    if "PID" not in head:
        raise InvalidParameter(f"{' '.join(command)} shows no PID column")
    column, chosen = head.index("PID"), {str(pid) for pid in wanted}
    return "\n".join([lines[0], *(line for line in lines[1:] if line.split()[column] in chosen)])


def write_spec(bundle: str) -> None:
    """Write a configuration to begin with; raises ``Conflict`` when there is one."""
    path = f"{bundle}/config.json"
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(pretty(defaults.default_spec()) + "\n")
    except FileExistsError:
        raise Conflict(f"{path} exists: remove it first") from None


def features() -> "dict[str, Any]":
    """What the runtime can do (features.md of the runtime specification)."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": ["prestart", "createRuntime", "startContainer", "poststart", "poststop"],
        "mountOptions": mount_options.known(),
        "linux": {
            "namespaces": sorted({*defaults.NAMESPACES, "user"}),
            "capabilities": list(capabilities.NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False},
            "seccomp": {"enabled": True},
            "apparmor": {"enabled": False},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": False}},
        },
    }
