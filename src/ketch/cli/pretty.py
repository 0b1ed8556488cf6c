"""Indented JSON, as ``inspect`` prints it (four spaces)."""

from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def dumps(value: "Any", level: int = 0) -> str:
    """``value`` over several lines, in the order of its keys."""
    inner, outer = "    " * (level + 1), "    " * level
    if isinstance(value, dict) and value:
        rows = [
            f"{inner}{fastjson.dumps(str(key)).decode()}: {dumps(item, level + 1)}"
            for key, item in value.items()
        ]
        return "{\n" + ",\n".join(rows) + f"\n{outer}}}"
    if isinstance(value, list) and value:
        rows = [inner + dumps(item, level + 1) for item in value]
        return "[\n" + ",\n".join(rows) + f"\n{outer}]"
    return fastjson.dumps(value).decode()
