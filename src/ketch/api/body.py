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

    Members that the schema does not know are refused unless they are empty (null, false, 0, "",
    [], {}): a newer client may send those without meaning anything by them.
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
    _refuse_unknown(value, raw, "")
    return value


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
            elif member:
                raise InvalidParameter(f"unknown field {where}{key}: ketch does not know it")
    elif isinstance(value, dict) and isinstance(raw, dict):
        for key, member in raw.items():
            _refuse_unknown(value.get(key), member, f"{where}{key}.")
    elif isinstance(value, list) and isinstance(raw, list):
        for index, (item, member) in enumerate(zip(value, raw, strict=True)):
            _refuse_unknown(item, member, f"{where}{index}.")


def _too_large(limit: int) -> InvalidParameter:
    return InvalidParameter(f"the request body is larger than {limit} bytes")
