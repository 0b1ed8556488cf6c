"""Variables that remember which ones were asked for and not there."""

from __future__ import annotations

from typing import Any


class Recorder(dict[str, str]):
    """Remembers names used plainly (``$v``, ``${v}``): with ``:-`` and its kin the author knows
    that a variable may be unset."""

    def __init__(self, known: dict[str, str]) -> None:
        super().__init__(known)
        self._missed: dict[str, None] = {}

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dict."""
        if name not in self and default == "":
            self._missed[name] = None
        return super().get(name, default)

    def taken(self) -> list[str]:
        """The names that were missed since this was asked last."""
        missed = list(self._missed)
        self._missed.clear()
        return missed
