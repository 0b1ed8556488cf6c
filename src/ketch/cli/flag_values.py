"""Texts of flags to values; each function raises ``ValueError`` with Docker's words."""

BINARY = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
SECONDS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}
STREAMS = ("stdin", "stdout", "stderr")


def size(text: str) -> int:
    """``512m``, ``1.5g``, ``1024`` → bytes (powers of 1024, as Docker reads memory sizes)."""
    number = text.strip().lower()
    if number.endswith("ib") and len(number) > 2:
        number = number[:-2]
    elif len(number) > 1 and number[-1] == "b" and number[-2] in "kmgtp":
        number = number[:-1]
    unit = number[-1:] if number[-1:].isalpha() else ""
    digits = number[: len(number) - len(unit)].strip()
    try:
        if unit not in BINARY or not digits or not digits[0].isdigit() or "_" in digits:
            raise ValueError
        return int(float(digits) * BINARY[unit])
    except (ValueError, OverflowError):
        raise ValueError(f"invalid size: '{text}'") from None


def size_or_unlimited(text: str) -> int:
    """As ``size``; -1 means no limit."""
    return -1 if text == "-1" else size(text)


def cpus(text: str) -> int:
    """A number of processors → billionths of one."""
    from fractions import Fraction

    try:
        value = Fraction(text) * 10**9
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"failed to parse {text} as a rational number") from None
    if value.denominator != 1:
        raise ValueError("value is too precise")
    return int(value)


def natural(text: str) -> int:
    """A whole number of at least 0 and at most 65535."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text) > 65535:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)


def duration(text: str) -> int:
    """Go's durations (``1m30s``, ``500ms``) → nanoseconds."""
    total, rest = 0.0, text.removeprefix("-").removeprefix("+")
    sign = -1 if text.startswith("-") else 1
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        letters = len(rest[digits:]) - len(rest[digits:].lstrip("hmsuµn"))
        unit = rest[digits : digits + letters].replace("µ", "u")
        if not unit and digits == len(rest):
            raise ValueError(f'time: missing unit in duration "{text}"')
        if not digits or unit not in SECONDS or rest[:digits].count(".") > 1 or digits > 40:
            raise ValueError(f'time: invalid duration "{text}"')
        if rest[:digits] == ".":
            raise ValueError(f'time: invalid duration "{text}"')
        total += float(rest[:digits]) * SECONDS[unit]
        rest = rest[digits + letters :]
    return sign * int(total)


def stream(text: str) -> str:
    """One of the three standard streams, in small letters."""
    if text.lower() not in STREAMS:
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def filter_word(text: str) -> str:
    """A filter has a name and a value."""
    if "=" not in text:
        raise ValueError("bad format of filter (expected name=value)")
    return text


def address(text: str) -> str:
    """An IP address of either family."""
    from _socket import AF_INET, AF_INET6, inet_pton

    for family in (AF_INET, AF_INET6):
        try:
            inet_pton(family, text)
        except OSError:
            continue
        return text
    raise ValueError(f"IP address is not correctly formatted: {text}")


def dns_search(text: str) -> str:
    """A domain name; ``.`` alone means none."""
    name = text.strip()
    if name == ".":
        return name
    labels = name.rstrip(".").split(".")
    good = all(
        label and len(label) < 64 and label.replace("-", "a").replace("_", "a").isalnum()
        for label in labels
    )
    if not good or len(name) > 255:
        raise ValueError(f"{text} is not a valid domain")
    return name


def extra_host(text: str) -> str:
    """``name:address`` or ``name=address``, the address perhaps in brackets."""
    name, separator, ip = text.partition("=")
    if not separator:
        name, separator, ip = text.partition(":")
    if not separator or not name:
        raise ValueError(f'bad format for add-host: "{text}"')
    bare = ip[1:-1] if ip.startswith("[") and ip.endswith("]") else ip
    if bare != "host-gateway":
        try:
            address(bare)
        except ValueError:
            raise ValueError(f'invalid IP address in add-host: "{ip}"') from None
    return f"{name}:{bare}"


def link(text: str) -> str:
    """``container`` or ``container:alias``."""
    words = text.split(":")
    if not text or len(words) > 2 or not all(words):
        raise ValueError(
            f"bad format for links: {text}" if text else "empty string specified for links"
        )
    return text


def environment_word(text: str) -> str:
    """``NAME`` or ``NAME=value``."""
    if not text.partition("=")[0]:
        raise ValueError(f"invalid environment variable: {text}")
    return text


def label(text: str) -> str:
    """``name`` or ``name=value``."""
    if not text.partition("=")[0]:
        raise ValueError(f"invalid label '{text}': empty name")
    return text


def pair(text: str) -> "tuple[str, str]":
    """``name=value``; a name alone has an empty value."""
    name, _, value = text.partition("=")
    return name, value


def ulimit(text: str) -> "dict[str, object]":
    """``nofile=1024:2048`` → the API's object; -1 is unlimited."""
    name, equals, values = text.partition("=")
    words = values.split(":")
    if not equals or len(words) > 2:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    try:
        soft, hard = int(words[0]), int(words[-1])
    except ValueError:
        wrong = words[0] if not words[0].removeprefix("-").isdigit() else words[-1]
        raise ValueError(f'strconv.ParseInt: parsing "{wrong}": invalid syntax') from None
    if hard != -1 and (soft > hard or soft == -1):
        shown = "soft: -1 (unlimited)" if soft == -1 else str(soft)
        raise ValueError(
            f"ulimit soft limit must be less than or equal to hard limit: {shown} > {hard}"
        )
    return {"Name": name, "Soft": soft, "Hard": hard}


ULIMITS = frozenset(
    (
        "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc",
        "rss", "rtprio", "rttime", "sigpending", "stack",
    )
)  # fmt: skip


def _device_value(text: str) -> "tuple[str, str]":
    path, colon, value = text.partition(":")
    if not colon or ":" in value or not path or not value:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, value


def device_weight(text: str) -> "dict[str, object]":
    """``/dev/sda:500`` → path and weight."""
    path, value = _device_value(text)
    if not value.isdigit() or (int(value) and not 10 <= int(value) <= 1000):
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(value)}


def device_bytes(text: str) -> "dict[str, object]":
    """``/dev/sda:1mb`` → path and bytes a second."""
    path, value = _device_value(text)
    try:
        return {"Path": path, "Rate": size(value)}
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is "
            "<device-path>:<number>[<unit>]. Number must be a positive integer. "
            "Unit is optional and can be kb, mb, or gb"
        ) from None


def device_operations(text: str) -> "dict[str, object]":
    """``/dev/sda:1000`` → path and operations a second."""
    path, value = _device_value(text)
    if not value.isdigit():
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>."
            " Number must be a positive integer"
        )
    return {"Path": path, "Rate": int(value)}


def device_rule(text: str) -> str:
    """``c 42:* rmw``, as the devices cgroup takes it."""
    words = text.split(" ")
    good = len(words) == 3 and words[0] in ("a", "b", "c")
    numbers = words[1].split(":") if good else []
    good = good and len(numbers) == 2 and all(n == "*" or n.isdigit() for n in numbers)
    if not good or not words[2] or not set(words[2]) <= set("rwm"):
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def gpus(text: str) -> "dict[str, object]":
    """``all``, a number, or ``device=…,driver=…,capabilities=…`` → a device request."""
    from ketch.cli.csv_fields import fields

    request: dict[str, object] = {
        "Driver": "", "Count": 0, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}
    }  # fmt: skip
    seen: set[str] = set()
    for field in fields(text):
        key, equals, value = field.partition("=")
        if not equals:
            key, value = "count", key
        if key in seen:
            raise ValueError(f"gpu request key '{key}' can be specified only once")
        seen.add(key)
        _gpu_field(request, key, value)
    if "count" not in seen and "device" not in seen:
        request["Count"] = 1
    return request


def _gpu_field(request: "dict[str, object]", key: str, value: str) -> None:
    if key == "count":
        if value != "all" and not value.removeprefix("-").isdigit():
            raise ValueError(
                f'invalid count ({value}): value must be either "all" or an integer: invalid syntax'
            )
        request["Count"] = -1 if value == "all" else int(value)
    elif key == "device":
        request["DeviceIDs"] = value.split(",")
    elif key == "driver":
        request["Driver"] = value
    elif key == "capabilities":
        request["Capabilities"] = [[*value.split(","), "gpu"]]
    elif key == "options":
        request["Options"] = dict(pair(word) for word in value.split(","))
    else:
        raise ValueError(f"unexpected key '{key}' in '{key}={value}'")
