"""Sizes, durations and instants as people write and read them, with Docker's spellings."""

from ketch.cli.flags import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BINARY = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
SECONDS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}


def parse_size(text: str, flag: str) -> int:
    """``512m``, ``1.5g``, ``1024`` → bytes (powers of 1024, as Docker reads memory sizes)."""
    number = (
        text.strip().lower().removesuffix("ib") if text.lower().endswith("ib") else text.lower()
    )
    number = number.strip()
    if len(number) > 1 and number[-1] == "b" and number[-2] in "kmgtp":
        number = number[:-1]
    unit = number[-1:] if number[-1:].isalpha() else ""
    try:
        return int(float(number[: len(number) - len(unit)]) * BINARY[unit])
    except (ValueError, KeyError, OverflowError):
        raise UsageError(
            f"invalid argument {text!r} for \"--{flag}\" flag: invalid size: '{text}'"
        ) from None


def parse_duration(text: str, flag: str) -> int:
    """Go's durations (``1m30s``, ``500ms``) → nanoseconds."""
    total, rest = 0.0, text
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        letters = len(rest[digits:]) - len(rest[digits:].lstrip("hmsuµn"))
        unit = rest[digits : digits + letters].replace("µ", "u")
        if not digits or unit not in SECONDS:
            raise UsageError(
                f'invalid argument "{text}" for "--{flag}" flag: time: invalid duration "{text}"'
            )
        total += float(rest[:digits]) * SECONDS[unit]
        rest = rest[digits + letters :]
    return int(total)


def human_size(size: float) -> str:
    """Bytes in powers of 1000 with four significant digits at most (``4.26MB``)."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size) < 1000 or unit == "TB":
            return f"{size:.4g}{unit}" if unit == "B" else f"{size:.3g}{unit}"
        size /= 1000
    return ""


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


def epoch_of(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 instant (0 for Docker's zero time)."""
    import calendar

    if not text or text.startswith("0001-"):
        return 0.0
    fields = [int(part) for part in text[:10].split("-") + text[11:19].split(":")]
    return float(calendar.timegm((*fields, 0, 0, 0)))


def short_id(identity: str) -> str:
    """The first 12 digits of an ID, without its algorithm."""
    return identity.removeprefix("sha256:")[:12]


def ports_text(ports: "list[dict[str, Any]]") -> str:
    """The PORTS column of ``ps``."""
    words = set()
    for port in ports:
        inner = f"{port['PrivatePort']}/{port['Type']}"
        if port.get("PublicPort"):
            host = port.get("IP") or "0.0.0.0"
            host = f"[{host}]" if ":" in host else host
            words.add((port["PrivatePort"], f"{host}:{port['PublicPort']}->{inner}"))
        else:
            words.add((port["PrivatePort"], inner))
    return ", ".join(text for _, text in sorted(words))
