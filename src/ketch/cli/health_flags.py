"""``--health-…`` and ``--no-healthcheck`` of ``run`` and ``create``, for the create body.

What Docker has goes into ``Healthcheck``; what only ketch has (``--health-http``, ``--health-tcp``,
``--health-on-failure``) travels as labels, as anybody may give them with another client
(docs/beyond.md).
"""

from ketch.cli.flags import UsageError
from ketch.cli.units import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.flags import Parsed

_DURATIONS = (
    ("health-interval", "Interval"),
    ("health-timeout", "Timeout"),
    ("health-start-period", "StartPeriod"),
    ("health-start-interval", "StartInterval"),
)
_LABELS = ("http", "tcp", "status", "on-failure")


def add(body: "dict[str, Any]", parsed: "Parsed") -> None:
    """Put what was asked into the create body; raises ``UsageError`` for contradictions."""
    check = _healthcheck(parsed)
    if parsed["no-healthcheck"]:
        if check or any(parsed[f"health-{name}"] for name in _LABELS):
            raise UsageError("--no-healthcheck conflicts with --health-* options")
        check = {"Test": ["NONE"]}
    if check:
        body["Healthcheck"] = check
    for name in _LABELS:
        if parsed[f"health-{name}"]:
            body["Labels"][f"ketch.health.{name}"] = parsed[f"health-{name}"]


def _healthcheck(parsed: "Parsed") -> "dict[str, Any]":
    check: dict[str, Any] = {}
    if parsed["health-cmd"]:
        check["Test"] = ["CMD-SHELL", parsed["health-cmd"]]
    for flag, key in _DURATIONS:
        if parsed[flag]:
            if parsed[flag].startswith("-"):
                raise UsageError(f"--{flag} cannot be negative")
            check[key] = parse_duration(parsed[flag], flag)
    if parsed["health-retries"] < 0:
        raise UsageError("--health-retries cannot be negative")
    if parsed["health-retries"]:
        check["Retries"] = parsed["health-retries"]
    return check
