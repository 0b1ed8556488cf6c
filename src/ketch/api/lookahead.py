"""Where a request ends whose connection will be hijacked.

aiohttp's parser treats what follows a request as the next request, and knows of no upgrade but
WebSocket. The bytes behind an attach or exec start are somebody's standard input, so they must be
set aside before the parser sees them. Pure functions over bytes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

LIMIT = 64 * 1024
"""A head longer than this is left to the parser, which refuses it."""

_LINE = re.compile(
    rb"POST (?:/v[\d.]+)?/(?:containers/\S+/attach|exec/\S+/start|grpc|session"
    rb"|ketch/builds/offers/\S+/agent)(?:\?\S*)? "
)
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, section 3.4
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,7})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


class Split(NamedTuple):
    """``request`` for the parser; ``rest`` is None when this is no hijacked request."""

    request: bytes
    rest: bytes | None


def is_http2(data: bytes) -> bool | None:
    """Whether a connection begins as HTTP/2 without asking; None: too few bytes to tell."""
    if data.startswith(_PREFACE):
        return True
    return None if data and _PREFACE.startswith(data) else False


def split(data: bytes) -> Split | None:
    """Cut bytes that begin at a request; None: too few to tell."""
    if not (data.startswith(b"POST ") or b"POST ".startswith(data)):
        return Split(data, None)
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None if len(data) < LIMIT else Split(data, None)
    head = data[: end + 4]
    if _LINE.match(head) is None or _CHUNKED.search(head):
        return Split(data, None)
    length = _LENGTH.search(head)
    total = len(head) + (int(length[1]) if length else 0)
    if len(data) >= total:
        return Split(data[:total], data[total:])
    return None if total < LIMIT else Split(data, None)
