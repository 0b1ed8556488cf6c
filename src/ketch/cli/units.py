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
    """The PORTS column of ``ps``.

    As docker's: neighbours that are not published, or published under their own number, are
    shown as one range; before the others, which stand alone.
    """
    runs: dict[tuple[str, str], list[list[int]]] = {}
    moved: list[str] = []
    for port in sorted(ports, key=_port_order):
        inner, outer = port["PrivatePort"], port.get("PublicPort") or 0
        address, protocol = port.get("IP") or "", port["Type"]
        if address and outer != inner:
            host = f"[{address}]" if ":" in address else address
            moved.append(f"{host}:{outer}->{inner}/{protocol}")
            continue
        found = runs.setdefault((address, protocol), [])
        if found and inner == found[-1][1] + 1:
            found[-1][1] = inner
        else:
            found.append([inner, inner])
    ended = [(key, run) for key, found in runs.items() for run in found[:-1]]
    last = [(key, found[-1]) for key, found in runs.items()]
    return ", ".join([*(_run_text(*pair) for pair in (*ended, *last)), *moved])


def _port_order(port: "dict[str, Any]") -> "tuple[Any, ...]":
    return (port["PrivatePort"], port.get("IP") or "", port.get("PublicPort") or 0, port["Type"])


def _run_text(key: "tuple[str, str]", run: "list[int]") -> str:
    address, protocol = key
    numbers = str(run[0]) if run[0] == run[1] else f"{run[0]}-{run[1]}"
    if not address:
        return f"{numbers}/{protocol}"
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{numbers}->{numbers}/{protocol}"
