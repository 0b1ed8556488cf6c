"""What every gRPC method does: take the client's message, tell errors as gRPC statuses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from ketch import errors
from ketch.buildkit.located import Located, Returned, reason

if TYPE_CHECKING:
    from grpclib.server import Stream

_STATUS = (
    (errors.NotFound, Status.NOT_FOUND),
    (errors.InvalidParameter, Status.INVALID_ARGUMENT),
    (errors.Conflict, Status.ALREADY_EXISTS),
    (errors.Unsupported, Status.UNIMPLEMENTED),
    (errors.Unavailable, Status.UNAVAILABLE),
    (errors.Cancelled, Status.CANCELLED),
)


_KEPT = (Status.CANCELLED, Status.UNIMPLEMENTED)


def guarded(
    call: Callable[[Any], Awaitable[None]], *, coded: bool = True
) -> Callable[[Any], Awaitable[None]]:
    """Errors as gRPC statuses; not ``coded`` those that people read, since clients print a code
    before its message."""

    async def guarded(stream: Stream[Any, Any]) -> None:
        async with _translated(coded=coded):
            await call(stream)

    return guarded


@asynccontextmanager
async def _translated(*, coded: bool) -> AsyncIterator[None]:
    try:
        yield
    except Returned as error:
        raise GRPCError(Status.UNKNOWN, _text(str(error)), error.details) from None
    except errors.KetchError as error:
        inner = error.error if isinstance(error, Located) else error
        found = next((code for kind, code in _STATUS if isinstance(inner, kind)), Status.UNKNOWN)
        told = error.details if isinstance(error, Located) else None
        plain = not coded and found not in _KEPT
        code = Status.UNKNOWN if plain else found
        raise GRPCError(code, _text(reason(inner)), told) from None


def _text(message: str) -> str:
    """As a status can have it: what quotes a client may hold bytes that are no UTF-8."""
    return message.encode(errors="backslashreplace").decode()


async def received(stream: Stream[Any, Any]) -> Any:
    """The client's message; raises ``InvalidParameter`` when there is none."""
    request = await stream.recv_message()
    if request is None:
        raise errors.InvalidParameter("the call came without a message")
    return request
