"""``--device`` and ``--gpus``: device nodes, and devices that CDI files describe."""

from ketch.cli.flags import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def parse(words: "list[str]", gpus: "list[dict[str, Any]]") -> "dict[str, Any]":
    """Fields of HostConfig; raises ``UsageError``."""
    named = [word for word in words if _is_cdi(word)]
    requests = list(gpus)
    if named:
        requests.append({"Driver": "cdi", "DeviceIDs": named})
    host: dict[str, Any] = {"Devices": [_node(word) for word in words if not _is_cdi(word)]}
    if requests:
        host["DeviceRequests"] = requests
    return host


def _is_cdi(word: str) -> bool:
    """``vendor.com/class=name`` (CDI specification, "Fully qualified names")."""
    kind, equals, name = word.partition("=")
    vendor, slash, _ = kind.partition("/")
    return bool(equals and slash and vendor and name) and not word.startswith("/")


def _node(text: str) -> "dict[str, str]":
    words = text.split(":")
    if len(words) == 1:
        source, target, mode = words[0], words[0], "rwm"
    elif len(words) == 2:
        is_mode = bool(words[1]) and set(words[1]) <= set("rwm")
        source, target, mode = (
            (words[0], words[0], words[1]) if is_mode else (words[0], words[1], "rwm")
        )
    elif len(words) == 3:
        source, target, mode = words
    else:
        raise UsageError(f"bad format for path: {text}")
    if not mode or not set(mode) <= set("rwm"):
        raise UsageError(f"bad mode specified: {mode}")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": mode}
