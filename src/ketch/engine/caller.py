"""On whose behalf the engine acts: set by whoever lets clients in, read when a signal is sent."""

from __future__ import annotations

from contextvars import ContextVar

CALLER: ContextVar[str] = ContextVar("caller", default="")
"""What is known of the client, for people to read; empty when the engine acts by itself."""
