"""Mounts: from ``-v`` strings, ``Mounts`` and ``Tmpfs`` to specifications, and back to JSON."""

from __future__ import annotations

import posixpath
from typing import Any

from ketch.api.schema.host import ForBind, Host, Mount
from ketch.engine.containers.record import MountPoint
from ketch.engine.containers.spec import ContainerSpec, MountSpec
from ketch.errors import InvalidParameter, Unsupported

_PROPAGATIONS = frozenset({"rprivate", "private", "rshared", "shared", "rslave", "slave"})
_CONSISTENCY = frozenset({"consistent", "cached", "delegated", "default"})
_LABELS = frozenset({"z", "Z"})


def mounts(host: Host) -> tuple[MountSpec, ...]:
    """All mounts that a ``HostConfig`` asks for."""
    return (
        *(parse_bind(bind, host.VolumeDriver or "") for bind in host.Binds or ()),
        *(_typed(mount) for mount in host.Mounts or ()),
        *(_tmpfs(target, options) for target, options in (host.Tmpfs or {}).items()),
    )


def parse_bind(text: str, driver: str = "") -> MountSpec:
    """Read ``[source:]target[:words]``; a source with a leading slash is a host path."""
    parts = text.split(":")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise InvalidParameter(f"invalid volume specification: '{text}'")
    if len(parts) == 1:
        return MountSpec(type="volume", target=parts[0], driver=driver)
    source, target = parts[0], parts[1]
    mode = parts[2] if len(parts) == 3 else ""
    words = _mode_words(mode)
    is_path = source.startswith("/")
    if not is_path and (source.startswith(".") or "/" in source):
        raise InvalidParameter(
            f"invalid volume specification: '{text}': {source!r} is neither an absolute path nor "
            "a volume name"
        )
    return MountSpec(
        type="bind" if is_path else "volume",
        source=source,
        target=target,
        read_only="ro" in words,
        propagation=next(iter(words & _PROPAGATIONS), ""),
        no_copy="nocopy" in words,
        create_source=is_path,
        driver="" if is_path else driver,
        mode=mode,
    )


def _mode_words(mode: str) -> frozenset[str]:
    words = frozenset(mode.split(",")) if mode else frozenset()
    known = {"ro", "rw", "nocopy"} | _PROPAGATIONS | _CONSISTENCY | _LABELS
    for word in words - known:
        raise InvalidParameter(f"invalid mode: {word}")
    if {"ro", "rw"} <= words or len(words & _PROPAGATIONS) > 1:
        raise InvalidParameter(f"invalid mode: {mode}")
    return words


def _tmpfs(target: str, options: str) -> MountSpec:
    return MountSpec(
        type="tmpfs",
        target=target,
        short=True,
        tmpfs_options=tuple(word for word in options.split(",") if word),
    )


def _typed(mount: Mount) -> MountSpec:
    kind = mount.Type or ""
    reader = _READERS.get(kind)
    if reader is None:
        if kind in ("npipe", "cluster"):
            raise Unsupported(f"mounts of type {kind!r} are not supported by ketch")
        raise InvalidParameter(f'invalid mount config for type "{kind}": mount type unknown')
    if not mount.Target:
        raise _invalid(kind, "field Target must not be empty")
    _only_own_options(mount, kind)
    if mount.Consistency and mount.Consistency not in _CONSISTENCY:
        raise _invalid(kind, f"invalid consistency: {mount.Consistency}")
    return reader(mount)


def _only_own_options(mount: Mount, kind: str) -> None:
    for name in ("BindOptions", "VolumeOptions", "TmpfsOptions", "ImageOptions", "ClusterOptions"):
        if getattr(mount, name) and name != f"{kind.capitalize()}Options":
            raise _invalid(kind, f"field {name} must not be specified")


def _bind(mount: Mount) -> MountSpec:
    if not mount.Source:
        raise _invalid("bind", "field Source must not be empty")
    if not mount.Source.startswith("/"):
        raise _invalid("bind", f"invalid mount path: '{mount.Source}' mount path must be absolute")
    options = mount.BindOptions
    propagation = (options and options.Propagation) or ""
    if propagation and propagation not in _PROPAGATIONS:
        raise _invalid("bind", f"invalid propagation mode: {propagation}")
    options = options or ForBind()
    _check_recursion(mount, options)
    return MountSpec(
        type="bind",
        source=mount.Source,
        target=mount.Target or "",
        read_only=bool(mount.ReadOnly),
        propagation=propagation,
        create_source=bool(options.CreateMountpoint),
        recursive=not options.NonRecursive,
        recursive_ro=not options.ReadOnlyNonRecursive,
        force_recursive_ro=bool(options.ReadOnlyForceRecursive),
        consistency=mount.Consistency or "",
    )


def _check_recursion(mount: Mount, options: ForBind) -> None:
    """How deep read-only goes: only of a mount that is read-only, and only one of the ways."""
    for name in ("ReadOnlyNonRecursive", "ReadOnlyForceRecursive"):
        if getattr(options, name) and not mount.ReadOnly:
            raise _invalid("bind", f"BindOptions.{name} needs ReadOnly")
    if options.ReadOnlyNonRecursive and options.ReadOnlyForceRecursive:
        raise _invalid(
            "bind", "BindOptions.ReadOnlyNonRecursive and ReadOnlyForceRecursive exclude each other"
        )
    if options.ReadOnlyForceRecursive and options.NonRecursive:
        raise _invalid("bind", "BindOptions.ReadOnlyForceRecursive excludes NonRecursive")
    if options.ReadOnlyForceRecursive and (options.Propagation or "rprivate") != "rprivate":
        raise _invalid("bind", "BindOptions.ReadOnlyForceRecursive needs the propagation rprivate")


def _volume(mount: Mount) -> MountSpec:
    options = mount.VolumeOptions
    driver = options.DriverConfig if options else None
    if mount.Source and "/" in mount.Source:
        raise _invalid("volume", f"{mount.Source!r} is no volume name; use type bind for a path")
    subpath = _subpath("volume", options.Subpath if options else "")
    if subpath and not mount.Source:
        raise _invalid("volume", "must not set Subpath when using anonymous volumes")
    return MountSpec(
        type="volume",
        source=mount.Source or "",
        target=mount.Target or "",
        read_only=bool(mount.ReadOnly),
        no_copy=bool(options and options.NoCopy),
        labels=(options and options.Labels) or {},
        driver=(driver and driver.Name) or "",
        driver_options=(driver and driver.Options) or {},
        subpath=subpath,
        consistency=mount.Consistency or "",
    )


def _image(mount: Mount) -> MountSpec:
    if not mount.Source:
        raise _invalid("image", "field Source must not be empty")
    options = mount.ImageOptions
    return MountSpec(
        type="image",
        source=mount.Source,
        target=mount.Target or "",
        read_only=bool(mount.ReadOnly),
        subpath=_subpath("image", options.Subpath if options else ""),
        consistency=mount.Consistency or "",
    )


def _subpath(kind: str, text: str | None) -> str:
    parts = (text or "").split("/")
    if text and (text.startswith("/") or ".." in parts or "\0" in text):
        raise _invalid(kind, f"subpath must be a relative path within the {kind}: {text}")
    return text or ""


def _typed_tmpfs(mount: Mount) -> MountSpec:
    if mount.Source:
        raise _invalid("tmpfs", "field Source must not be specified")
    options = mount.TmpfsOptions
    size, mode = (options and options.SizeBytes) or 0, (options and options.Mode) or 0
    if size < 0 or not 0 <= mode <= 0o7777:
        raise _invalid("tmpfs", "SizeBytes and Mode must not be negative or too large")
    return MountSpec(
        type="tmpfs",
        target=mount.Target or "",
        read_only=bool(mount.ReadOnly),
        tmpfs_size=size,
        tmpfs_mode=mode,
        tmpfs_options=tuple("=".join(pair) for pair in (options and options.Options) or ()),
        consistency=mount.Consistency or "",
    )


def _invalid(kind: str, reason: str) -> InvalidParameter:
    return InvalidParameter(f'invalid mount config for type "{kind}": {reason}')


def points_json(spec: ContainerSpec, points: tuple[MountPoint, ...]) -> list[dict[str, Any]]:
    """``Mounts`` of inspect and ps: all but those of ``--tmpfs``, which Docker leaves out too."""
    short = {posixpath.normpath(mount.target) for mount in spec.mounts if mount.short}
    return [point_json(point) for point in points if point.target not in short]


def point_json(point: MountPoint) -> dict[str, Any]:
    """One of ``Mounts`` of inspect and ps."""
    named = {"Name": point.name} if point.name else {}
    driver = {"Driver": point.driver} if point.driver else {}
    return {
        "Type": point.type,
        **named,
        "Source": point.source,
        "Destination": point.target,
        **driver,
        "Mode": point.mode,
        "RW": point.writable,
        "Propagation": point.propagation,
    }


def spec_json(spec: MountSpec) -> dict[str, Any]:
    """One of ``HostConfig.Mounts``, as it was asked for."""
    found: dict[str, Any] = {"Type": spec.type, "Target": spec.target}
    if spec.source:
        found["Source"] = spec.source
    if spec.read_only:
        found["ReadOnly"] = True
    if spec.consistency:
        found["Consistency"] = spec.consistency
    options = _OPTIONS[spec.type](spec)
    if options:
        found[f"{spec.type.capitalize()}Options"] = options
    return found


def _bind_options(spec: MountSpec) -> dict[str, Any]:
    asked = {
        "Propagation": spec.propagation,
        "NonRecursive": not spec.recursive,
        "CreateMountpoint": spec.create_source,
        "ReadOnlyNonRecursive": not spec.recursive_ro,
        "ReadOnlyForceRecursive": spec.force_recursive_ro,
    }
    return {name: value for name, value in asked.items() if value}


def _volume_options(spec: MountSpec) -> dict[str, Any]:
    driver = {"Name": spec.driver, "Options": spec.driver_options}
    asked = {
        "NoCopy": spec.no_copy,
        "Labels": spec.labels,
        "DriverConfig": {name: value for name, value in driver.items() if value},
        "Subpath": spec.subpath,
    }
    return {name: value for name, value in asked.items() if value}


def _tmpfs_options(spec: MountSpec) -> dict[str, Any]:
    asked = {
        "SizeBytes": spec.tmpfs_size,
        "Mode": spec.tmpfs_mode,
        "Options": [option.split("=", 1) for option in spec.tmpfs_options],
    }
    return {name: value for name, value in asked.items() if value}


def _image_options(spec: MountSpec) -> dict[str, Any]:
    return {"Subpath": spec.subpath} if spec.subpath else {}


_READERS = {"bind": _bind, "volume": _volume, "tmpfs": _typed_tmpfs, "image": _image}
_OPTIONS = {
    "bind": _bind_options,
    "volume": _volume_options,
    "tmpfs": _tmpfs_options,
    "image": _image_options,
}
