"""``--mount`` and ``--tmpfs`` values to the API's shape."""

from ketch.cli.flags import UsageError
from ketch.cli.units import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
SWITCHES = ("readonly", "volume-nocopy")


def parse(text: str) -> "dict[str, Any]":
    """``type=bind,source=/a,target=/b,readonly`` → a Mount object; raises ``UsageError``."""
    values: dict[str, str] = {}
    mount: dict[str, Any] = {"Type": "volume"}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        key = NAMES.get(key.strip().lower(), key.strip().lower())
        if not equals and key not in SWITCHES:
            raise UsageError(f"invalid field '{field}' must be a key=value pair")
        values[key] = value if equals else "true"
    mount["Type"] = values.pop("type", "volume")
    mount["Source"] = values.pop("source", "")
    mount["Target"] = values.pop("target", "")
    if not mount["Target"]:
        raise UsageError(f"target is required in --mount {text}")
    mount["ReadOnly"] = values.pop("readonly", "false") in ("true", "1")
    _options(mount, values, text)
    return mount


def _options(mount: "dict[str, Any]", values: "dict[str, str]", text: str) -> None:
    for key, value in values.items():
        if key == "bind-propagation" and mount["Type"] == "bind":
            mount.setdefault("BindOptions", {})["Propagation"] = value
        elif key == "volume-nocopy" and mount["Type"] == "volume":
            mount.setdefault("VolumeOptions", {})["NoCopy"] = value in ("true", "1")
        elif key == "tmpfs-size" and mount["Type"] == "tmpfs":
            mount.setdefault("TmpfsOptions", {})["SizeBytes"] = parse_size(value, "mount")
        elif key == "tmpfs-mode" and mount["Type"] == "tmpfs":
            mount.setdefault("TmpfsOptions", {})["Mode"] = int(value, 8)
        else:
            raise UsageError(f"unexpected key '{key}' in --mount '{text}'")
