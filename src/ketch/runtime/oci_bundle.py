"""A bundle: ``config.json`` read, checked, and turned into what the sandbox wants."""

import os

from ketch.errors import InvalidParameter, NotFound, Unsupported
from ketch.linux import fastjson
from ketch.linux import mountapi as m
from ketch.mounts import IMAGE, SHM
from ketch.runtime import defaults, oci_shapes
from ketch.runtime.cgroups.group import check_path
from ketch.runtime.plan import refuse_unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Spec = dict[str, Any]

DEFAULT_PARENT = "/ketch-runtime"
_LONGEST = 16 << 20  # bytes


def load(bundle: str) -> "Spec":
    """The bundle's configuration; raises ``NotFound``, ``InvalidParameter``, ``Unsupported``."""
    path = f"{bundle}/config.json"
    try:
        with open(path, "rb") as file:
            text = file.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise InvalidParameter(f"{path} is larger than {_LONGEST >> 20} MiB")
        spec = fastjson.loads(text)
    except OSError as error:
        raise NotFound(f"cannot read {path}: {(error.strerror or '').lower()}") from None
    except ValueError as error:
        raise InvalidParameter(f"{path} is not JSON: {error}") from None
    if not isinstance(spec, dict):
        raise InvalidParameter(f"{path} holds no object")
    _check(spec)
    for mount in spec.get("mounts") or ():
        if isinstance(mount, dict) and str(mount.get("source")).startswith((IMAGE, SHM)):
            mount["source"] = f"./{mount['source']}"  # here these are names of files
    return spec


def _check(spec: "Spec") -> None:
    version = str(spec.get("ociVersion") or "")
    if not version.startswith("1."):
        raise Unsupported(f"ociVersion {version!r} is not supported: it must be 1.x")
    for section in ("process", "root"):
        if not isinstance(spec.get(section), dict):
            raise InvalidParameter(f"the configuration has no {section}")
    if not isinstance(spec.get("linux"), dict):
        raise InvalidParameter("the configuration has no linux section")
    oci_shapes.check(spec, oci_shapes.CONFIG, "")
    refuse_unsupported(spec)
    if spec["linux"].get("timeOffsets"):
        raise Unsupported("linux.timeOffsets is not supported")
    if (spec.get("hooks") or {}).get("createContainer"):
        raise Unsupported(
            "hooks.createContainer is not supported: the container's mount namespace never shows "
            "the files of the host; use createRuntime or startContainer"
        )


def root_path(bundle: str, spec: "Spec") -> str:
    """The absolute path of the root; raises ``InvalidParameter`` when it is no directory."""
    path = os.path.join(bundle, str(spec["root"].get("path") or ""))
    if not os.path.isdir(path):
        raise InvalidParameter(f"root.path {path} is not a directory")
    return os.path.realpath(path)


def open_root(path: str) -> int:
    """A private copy of the mounts at ``path``, detached; raises OSError."""
    fd = m.open_tree(path, recursive=True)
    m.mount_setattr(fd, propagation=m.MS_PRIVATE, recursive=True)
    return fd


def cgroup_path(spec: "Spec", id: str) -> "tuple[str, str]":
    """(parent, name) of ``linux.cgroupsPath``, or the default; raises ``InvalidParameter``."""
    path = str(spec["linux"].get("cgroupsPath") or f"{DEFAULT_PARENT}/{id}")
    if ":" in path and not path.startswith("/"):
        raise Unsupported(f"linux.cgroupsPath {path!r} is for systemd, which is not supported")
    parent, _, name = path.rstrip("/").rpartition("/")
    if not parent.strip("/"):
        raise InvalidParameter(f"linux.cgroupsPath {path!r} needs a parent: /parent/name")
    check_path(parent, name)
    return parent, name


def resources(spec: "Spec") -> "Spec":
    """``linux.resources`` with the devices that every container may use (config-linux.md)."""
    wanted = dict(spec["linux"].get("resources") or {})
    rules = list(wanted.get("devices") or ())
    if rules and rules != defaults.device_rules():
        wanted["devices"] = rules + defaults.device_rules()[1:]
    return wanted
