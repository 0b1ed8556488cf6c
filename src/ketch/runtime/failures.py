"""Exceptions across a socket: ``{"error", "kind", …}`` and back to the classes of ketch.errors.

On the launcher's import path. ``kind`` is one of the keys below, or ``system`` for an OSError (its
number travels along) and for everything else.
"""

from ketch import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KINDS: "dict[str, type[errors.KetchError]]" = {
    "not_found": errors.NotFound,
    "invalid": errors.InvalidParameter,
    "conflict": errors.Conflict,
    "forbidden": errors.Forbidden,
    "unauthorized": errors.Unauthorized,
    "unavailable": errors.Unavailable,
    "unsupported": errors.Unsupported,
    "corrupt": errors.DataCorrupt,
}
_BY_CLASS = {cls: kind for kind, cls in KINDS.items()}


def to_wire(error: BaseException) -> "dict[str, Any]":
    """An exception as fields of a message."""
    text = str(error) or type(error).__name__
    if isinstance(error, errors.StartFailed):
        return {"error": text, "kind": "start_failed", "code": error.exit_code}
    if isinstance(error, errors.KetchError):
        return {"error": text, "kind": _BY_CLASS.get(type(error), "system")}
    if isinstance(error, ProcessLookupError):
        return {"error": error.strerror or text, "kind": "not_found"}
    if isinstance(error, OSError):
        return {"error": errors.os_reason(error), "kind": "system", "errno": error.errno or 0}
    if isinstance(error, (LookupError, ValueError, TypeError)):
        return {"error": f"malformed request: {type(error).__name__}: {text}", "kind": "invalid"}
    return {"error": f"{type(error).__name__}: {text}", "kind": "system"}


def from_wire(fields: "dict[str, Any]") -> errors.KetchError:
    """The exception of a message; an OSError becomes the ``__cause__`` of a ``KetchError``."""
    text, kind = str(fields.get("error", "unknown error")), fields.get("kind", "system")
    if kind == "start_failed":
        return errors.StartFailed(text, int(fields.get("code", 128)))
    error = KINDS.get(kind, errors.KetchError)(text)
    if fields.get("errno"):
        error.__cause__ = OSError(int(fields["errno"]), text)
    return error
