"""A daemon of the corpus's own."""

from __future__ import annotations

from e2e.conftest import _needs, ketchd

__all__ = ["_needs", "ketchd"]
