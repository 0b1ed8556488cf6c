"""Go's number literals, and numbers as Go prints them (strconv)."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PREFIXES = {"0x": 16, "0o": 8, "0b": 2}
LONGEST = 400  # characters of a literal; Python's conversion is quadratic


def number(text: str) -> "int | float":
    """The value of a literal; raises ``ValueError`` with Go's words."""
    wrong = f'illegal number syntax: "{text}"' if text in (".", "+.", "-.") else ""
    wrong = wrong or f'bad number syntax: "{text}"'
    digits = text.lstrip("+-").replace("_", "").lower()
    sign = -1 if text.startswith("-") else 1
    if len(text) > LONGEST or not digits:
        raise ValueError(wrong)
    if digits.endswith("i"):
        raise ValueError(f"complex numbers are not supported: {text}")
    try:
        value: int | float = _magnitude(digits)
    except (ValueError, OverflowError):
        raise ValueError(wrong) from None
    if value == float("inf"):
        raise ValueError(f'illegal number syntax: "{text}"')
    if isinstance(value, int) and value >= 1 << 63:
        raise ValueError(f"integer overflow: {text!r}".replace("'", '"'))
    return sign * value


def _magnitude(digits: str) -> "int | float":
    base = PREFIXES.get(digits[:2])
    if base == 16 and "p" in digits:
        return float.fromhex(digits)
    if base is not None:
        return int(digits[2:], base)
    if digits.isdigit():
        return int(digits, 8) if digits.startswith("0") and len(digits) > 1 else int(digits)
    return float(digits)


LARGE = 6  # from this exponent on %g has the form with an exponent (strconv, shortest digits)


def shortest(value: float) -> str:
    """As %v prints a float: the fewest digits, an exponent below -4 and from 6 on."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = decimal(value)
    if not -4 <= exponent < LARGE:
        mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
        return f"{sign}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    rest = digits[exponent + 1 :]
    return f"{sign}{whole}.{rest}" if rest else sign + whole


def decimal(value: float) -> "tuple[str, str, int]":
    """(sign, significant digits, exponent of the first digit) of the shortest spelling."""
    mantissa, _, exponent = f"{value!r}".partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole + fraction) - len(digits)
    digits = digits.rstrip("0")
    if not digits:
        return sign, "0", 0
    return sign, digits, len(whole) - 1 - leading + int(exponent or 0)


def kind_of(value: "Any") -> str:
    """Go's name of the type that a decoded JSON value stands for."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "bool"
    for kind, name in ((int, "int"), (float, "float64"), (str, "string")):
        if isinstance(value, kind):
            return name
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(item, str) for item in value):
            return "[]string"
        return "[]interface {}"
    if isinstance(value, dict):
        return str(getattr(value, "type_name", "") or "map[string]interface {}")
    return "func"
