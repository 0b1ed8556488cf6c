"""``--security-opt``: a seccomp profile is read here, system paths become lists of paths."""

from ketch.cli.flags import UsageError
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def parse(words: "list[str]") -> "dict[str, Any]":
    """Fields of HostConfig; raises ``UsageError``."""
    options: list[str] = []
    host: dict[str, Any] = {"SecurityOpt": options}
    for word in words:
        mark = "=" if "=" in word else ":"
        name, separator, value = word.partition(mark)
        if not separator and name not in ("no-new-privileges", "writable-cgroups"):
            raise UsageError(f'Invalid --security-opt: "{word}"')
        if name == "systempaths" and value == "unconfined":
            host.update({"MaskedPaths": [], "ReadonlyPaths": []})
        elif name == "seccomp" and value not in ("unconfined", "builtin"):
            options.append(f"seccomp={_profile(value)}")
        else:
            options.append(word)
    return host


def _profile(path: str) -> str:
    """The JSON text of a profile."""
    try:
        with open(path, "rb") as file:
            return fastjson.dumps(fastjson.loads(file.read())).decode()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(
            f"opening seccomp profile ({path}) failed: open {path}: {reason}"
        ) from None
    except ValueError as error:
        raise UsageError(f"compacting json for seccomp profile ({path}) failed: {error}") from None
