"""Sizes, durations and instants as people write and read them, with Docker's spellings."""

from ketch.cli.flag_values import duration, size
from ketch.cli.flags import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def parse_size(text: str, flag: str) -> int:
    """``512m``, ``1.5g``, ``1024`` → bytes; raises ``UsageError`` that names the flag."""
    try:
        return size(text)
    except ValueError as error:
        raise UsageError(f'invalid argument "{text}" for "--{flag}" flag: {error}') from None


def parse_duration(text: str, flag: str) -> int:
    """Go's durations (``1m30s``, ``500ms``) → nanoseconds; raises ``UsageError``."""
    try:
        return duration(text)
    except ValueError as error:
        raise UsageError(f'invalid argument "{text}" for "--{flag}" flag: {error}') from None


def human_size(size: float, digits: int = 3) -> str:
    """Bytes in powers of 1000 with so many significant digits (``4.26MB``)."""
    return _scaled(size, 1000, ("B", "kB", "MB", "GB", "TB", "PB", "EB"), digits)


def binary_size(size: float) -> str:
    """Bytes in powers of 1024 with four significant digits (``23.54GiB``)."""
    return _scaled(size, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"), 4)


def _scaled(size: float, base: int, names: "tuple[str, ...]", digits: int) -> str:
    place = 0
    while abs(size) >= base and place < len(names) - 1:
        size /= base
        place += 1
    text = f"{size:.{digits}g}"
    return (f"{size:.0f}" if "e" in text else text) + names[place]


def human_ago(seconds: float) -> str:
    """An age in Docker's words: ``Less than a second``, ``About a minute``, ``3 hours``."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = round(whole / 3600)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    days = hours // 24
    if days < 14:
        return f"{days} days"
    if days < 60:
        return f"{days // 7} weeks"
    return f"{days // 30} months" if days < 730 else f"{days // 365} years"


def since(epoch: float) -> str:
    """``human_ago`` of an instant, with ``ago``; empty for none."""
    import time

    return f"{human_ago(time.time() - epoch)} ago" if epoch > 0 else "N/A"


def short_id(identity: str) -> str:
    """The first 12 digits of an ID, without its algorithm."""
    return identity.removeprefix("sha256:")[:12]


def ports_text(ports: "list[dict[str, Any]]") -> str:
    """The PORTS column of ``ps``: ranges of neighbours are put together."""
    runs: list[list[Any]] = []  # [host address, first inner, first outer or 0, protocol, count]
    ordered = sorted(ports, key=_port_order)
    for port in ordered:
        inner, outer = port["PrivatePort"], port.get("PublicPort") or 0
        address = port.get("IP") or ("0.0.0.0" if outer else "")
        run = runs[-1] if runs else None
        if run is not None and (run[0], run[3]) == (address, port["Type"]):
            follows = inner == run[1] + run[4] and (
                outer == run[2] + run[4] if run[2] else not outer
            )
            if follows:
                run[4] += 1
                continue
        runs.append([address, inner, outer, port["Type"], 1])
    runs.sort(key=lambda run: (not run[2], run[1], run[3]))
    return ", ".join(dict.fromkeys(_run_text(run) for run in runs))


def _port_order(port: "dict[str, Any]") -> "tuple[Any, ...]":
    public = port.get("PublicPort") or 0
    return (port.get("IP") or "", port["Type"], not public, port["PrivatePort"], public)


def _run_text(run: "list[Any]") -> str:
    address, inner, outer, protocol, count = run
    inside = f"{inner}-{inner + count - 1}" if count > 1 else str(inner)
    if not outer:
        return f"{inside}/{protocol}"
    outside = f"{outer}-{outer + count - 1}" if count > 1 else str(outer)
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{outside}->{inside}/{protocol}"
