"""Request bodies: bounded, and JSON as strict as Docker's, with sentences that name the field."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from aiohttp.web_request import BaseRequest

from ketch.errors import InvalidParameter

T = TypeVar("T")

JSON_LIMIT = 4 * 1024 * 1024
"""Most bytes of a JSON body; the largest real ones (container create) have some KiB."""


async def read(request: BaseRequest, limit: int = JSON_LIMIT) -> bytes:
    """The whole body; raises ``InvalidParameter`` when it is larger than ``limit`` bytes."""
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


async def read_json(request: BaseRequest, type: type[T]) -> T:
    """Decode the body as ``type``; raises ``InvalidParameter`` for anything else."""
    return decode(await _json_bytes(request), type)


async def read_optional_json(request: BaseRequest, type: type[T]) -> T | None:
    """Like ``read_json``, but an empty body is None."""
    data = await _json_bytes(request)
    return decode(data, type) if data.strip() else None


async def _json_bytes(request: BaseRequest) -> bytes:
    data = await read(request)
    header = request.headers.get("Content-Type", "")
    if not data and not header:
        return data
    if header.partition(";")[0].strip().lower() != "application/json":
        raise InvalidParameter(
            f"unsupported Content-Type header ({header}): must be 'application/json'"
        )
    return data


def decode(data: bytes, type: type[T]) -> T:
    """JSON bytes as a schema value.

    Members are known by their names in any case, as Go's decoder has it, and the last one counts.
    Of others those in Docker's spelling, with a capital first, are refused unless they are empty
    (null, false, 0, "", [], {}): a misspelt option must not go unnoticed, but a newer client may
    send those without meaning anything by them. What is spelt in small letters is a client's own:
    dockerode sends the parameters of its functions along (``name``, ``hijack``, ``stdin``).
    """
    if not data.strip():
        raise InvalidParameter("invalid JSON: EOF")
    try:
        value = msgspec.json.decode(data, type=type)
        raw = msgspec.json.decode(data)
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"invalid JSON: {error}") from None
    except msgspec.DecodeError as error:
        raise InvalidParameter(_syntax(str(error))) from None
    except (UnicodeError, RecursionError):
        raise InvalidParameter("invalid JSON: not UTF-8, or nested too deeply") from None
    while _respelt(value, raw):
        value = _converted(raw, type)
    _refuse_unknown(value, raw, "")
    return value


def _converted(raw: Any, type: type[T]) -> T:
    try:
        return msgspec.convert(raw, type=type)
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"invalid JSON: {error}") from None


def _respelt(value: Any, raw: Any) -> bool:
    """Give the members of ``raw`` the schema's spelling; whether there was one in another.

    Everywhere that ``value`` has been read: what is below a respelt member comes in the next round.
    """
    if isinstance(value, list) and isinstance(raw, list):
        return sum(_respelt(*pair) for pair in zip(value, raw, strict=True)) > 0
    if not isinstance(raw, dict):
        return False
    if isinstance(value, dict):
        return sum(_respelt(value.get(key), member) for key, member in raw.items()) > 0
    if not isinstance(value, msgspec.Struct):
        return False
    fields = value.__struct_encode_fields__
    changed = sum(_respelt(getattr(value, key), raw[key]) for key in fields if key in raw) > 0
    if raw.keys() <= set(fields):
        return changed
    spelling = {name.lower(): name for name in fields}
    members = [(spelling.get(key.lower(), key), member) for key, member in raw.items()]
    if [key for key, _ in members] == list(raw):
        return changed
    raw.clear()
    raw.update(members)
    return True


def _syntax(message: str) -> str:
    if "trailing characters" in message:
        return "invalid JSON: unexpected content after JSON"
    if "truncated" in message:
        return "invalid JSON: unexpected EOF"
    return f"invalid JSON: {message}"


def _refuse_unknown(value: Any, raw: Any, where: str) -> None:
    if isinstance(value, msgspec.Struct) and isinstance(raw, dict):
        known = set(value.__struct_encode_fields__)
        for key, member in raw.items():
            if key in known:
                if isinstance(member, (dict, list)):
                    _refuse_unknown(getattr(value, key), member, f"{where}{key}.")
            elif member and key[:1].isupper():
                raise InvalidParameter(f"unknown field {where}{key}: ketch does not know it")
    elif isinstance(value, dict) and isinstance(raw, dict):
        for key, member in raw.items():
            _refuse_unknown(value.get(key), member, f"{where}{key}.")
    elif isinstance(value, list) and isinstance(raw, list):
        for index, (item, member) in enumerate(zip(value, raw, strict=True)):
            _refuse_unknown(item, member, f"{where}{index}.")


def _too_large(limit: int) -> InvalidParameter:
    return InvalidParameter(f"the request body is larger than {limit} bytes")
