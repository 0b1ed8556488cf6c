"""JSON without the ``json`` package, whose import (it takes ``re``) costs 9 ms at every start.

The C scanner and encoder of CPython's ``_json`` do the work; the few lines around them stand for
``json.decoder`` and ``json.encoder``. Strict: trailing text is an error, NaN is refused.
"""

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

WHITE = b" \t\r\n"


class _Context:
    """What ``_json.make_scanner`` reads its settings from."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    def __init__(self) -> None:
        self.memo: dict[str, str] = {}

    @staticmethod
    def parse_constant(name: str) -> float:
        raise ValueError(f"{name} is not JSON")


def _scanner() -> "Callable[[str, int], tuple[Any, int]]":
    context: Any = _Context()
    scanner: Any = _json.make_scanner(context)
    return scanner  # type: ignore[no-any-return]


_scan = _scanner()


def loads(data: "bytes | str") -> "Any":
    """Decode one JSON text; raises ValueError."""
    text = data.decode() if isinstance(data, (bytes, bytearray)) else data
    text = text.strip(" \t\r\n")
    try:
        value, end = _scan(text, 0)
    except StopIteration as stop:
        raise ValueError(f"not JSON at character {stop.value}") from None
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    except SystemError:
        # The C scanner looks for json.decoder in sys.modules to raise its error and finds none.
        raise ValueError(_explain(text)) from None
    if end != len(text):
        raise ValueError(f"unexpected content after JSON at character {end}")
    return value


def _explain(text: str) -> str:
    """What is wrong with a text that the scanner refused; only now the real package is loaded."""
    import json

    try:
        json.loads(text)
    except ValueError as error:
        return str(error)
    return "not JSON"


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _float(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"{value} is no JSON value")
    return float.__repr__(value)


def _encoder() -> "Callable[[object, int], tuple[str, ...]]":
    arguments: Any = (None, _refuse, _json.encode_basestring, None, ":", ",", False, False, False)
    encoder: Any = _json.make_encoder(*arguments)
    return encoder  # type: ignore[no-any-return]


_encode = _encoder()


def dumps(value: object) -> bytes:
    """Encode compactly as UTF-8; raises TypeError or ValueError for what JSON cannot hold.

    JSON is Unicode: surrogates, which stand for bytes of names that are none, become U+FFFD.
    """
    if isinstance(value, str):
        return _utf8(_json.encode_basestring(value))
    if isinstance(value, float):
        return _float(value).encode()
    return _utf8("".join(_encode(value, 0)))


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
