"""``--mount`` values to the API's shape (docker run, "Add bind mounts, volumes or tmpfs")."""

from ketch.cli.csv_fields import fields
from ketch.cli.flag_values import pair, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
SWITCHES = ("readonly", "bind-create-src", "bind-nonrecursive", "volume-nocopy", "image-readwrite")
KINDS = ("bind", "volume", "tmpfs", "image", "npipe", "cluster")


def parse(text: str) -> "dict[str, Any]":
    """``type=bind,source=/a,target=/b,readonly`` → a Mount object; raises ``ValueError``."""
    mount: dict[str, Any] = {"Type": "volume"}
    groups: dict[str, dict[str, Any]] = {"bind": {}, "volume": {}, "tmpfs": {}, "image": {}}
    for field in fields(text):
        key, equals, value = field.partition("=")
        key = NAMES.get(key.lower(), key.lower())
        if not equals and key not in SWITCHES:
            raise ValueError(f"invalid field '{field}' must be a key=value pair")
        if not _plain(mount, key, value, equals) and not _grouped(groups, key, value, equals):
            raise ValueError(f"unexpected key '{key}' in '{field}'")
    _finish(mount, groups)
    return mount


def _plain(mount: "dict[str, Any]", key: str, value: str, equals: str) -> bool:
    if key == "type":
        mount["Type"] = value.lower()
    elif key == "source":
        mount["Source"] = value
        if value.startswith("."):
            import os

            mount["Source"] = os.path.abspath(value)
    elif key == "target":
        mount["Target"] = value
    elif key == "readonly":
        mount["ReadOnly"] = _truth(key, value, equals)
    elif key == "consistency":
        mount["Consistency"] = value.lower()
    else:
        return False
    return True


def _grouped(groups: "dict[str, dict[str, Any]]", key: str, value: str, equals: str) -> bool:
    """Options of one type of mount."""
    bind, volume, tmpfs, image = (groups[name] for name in ("bind", "volume", "tmpfs", "image"))
    if key == "bind-propagation":
        bind["Propagation"] = value.lower()
    elif key == "bind-nonrecursive":
        bind["NonRecursive"] = _truth(key, value, equals)
    elif key == "bind-create-src":
        bind["CreateMountpoint"] = _truth(key, value, equals)
    elif key == "bind-recursive":
        _recursive(bind, value)
    elif key == "volume-subpath":
        volume["Subpath"] = value
    elif key == "volume-nocopy":
        volume["NoCopy"] = _truth(key, value, equals)
    elif key == "volume-label":
        volume.setdefault("Labels", {}).update([pair(value)])
    elif key == "volume-driver":
        volume.setdefault("DriverConfig", {})["Name"] = value
    elif key == "volume-opt":
        options = volume.setdefault("DriverConfig", {}).setdefault("Options", {})
        options.update([pair(value)])
    elif key == "image-subpath":
        image["Subpath"] = value
    elif key == "tmpfs-size":
        tmpfs["SizeBytes"] = _tmpfs_size(value)
    elif key == "tmpfs-mode":
        tmpfs["Mode"] = _mode(value)
    else:
        return False
    return True


def _truth(key: str, value: str, equals: str) -> bool:
    if not equals or value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(f"invalid value for {key}: {value}")


def _recursive(bind: "dict[str, Any]", value: str) -> None:
    fields_of = {
        "enabled": {},
        "disabled": {"NonRecursive": True},
        "writable": {"ReadOnlyNonRecursive": True},
        "readonly": {"ReadOnlyForceRecursive": True},
    }
    if value not in fields_of:
        raise ValueError(
            f'invalid value for bind-recursive: {value} (must be "enabled", "disabled", "writable",'
            ' or "readonly")'
        )
    bind.update(fields_of[value])


def _tmpfs_size(value: str) -> int:
    try:
        return size(value)
    except ValueError:
        raise ValueError(f"invalid value for tmpfs-size: {value}") from None


def _mode(value: str) -> int:
    try:
        return int(value, 8)
    except ValueError:
        raise ValueError(f"invalid value for tmpfs-mode: {value}") from None


def _finish(mount: "dict[str, Any]", groups: "dict[str, dict[str, Any]]") -> None:
    """Check what belongs together, and put the options where the API has them."""
    kind = mount["Type"]
    if not kind:
        raise ValueError("type is required")
    if not mount.get("Target"):
        raise ValueError("target is required")
    for name, options in groups.items():
        if options and name != kind:
            raise ValueError(f"cannot mix '{name}-*' options with mount type '{kind}'")
    _check_recursive(groups["bind"], bool(mount.get("ReadOnly")))
    if groups.get(kind):
        mount[f"{kind.capitalize()}Options"] = groups[kind]


def _check_recursive(bind: "dict[str, Any]", read_only: bool) -> None:
    words = {"ReadOnlyNonRecursive": "writable", "ReadOnlyForceRecursive": "readonly"}
    for field, word in words.items():
        if bind.get(field) and not read_only:
            raise ValueError(
                f"option 'bind-recursive={word}' requires 'readonly' to be specified in conjunction"
            )
    if bind.get("ReadOnlyForceRecursive") and bind.get("Propagation") != "rprivate":
        raise ValueError(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified"
            " in conjunction"
        )
