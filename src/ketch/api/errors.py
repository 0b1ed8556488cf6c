"""From error categories to HTTP: the one place where a status code is chosen."""

from __future__ import annotations

from ketch.errors import (
    Cancelled,
    Conflict,
    Forbidden,
    InvalidParameter,
    KetchError,
    NotFound,
    NotModified,
    Unauthorized,
    Unavailable,
    Unsupported,
)

_STATUS: tuple[tuple[type[KetchError], int], ...] = (
    (NotFound, 404),
    (InvalidParameter, 400),
    (Conflict, 409),
    (NotModified, 304),
    (Unauthorized, 401),
    (Forbidden, 403),
    (Unavailable, 503),
    (Unsupported, 501),
    (Cancelled, 499),
)


def status_of(error: BaseException) -> int:
    """The HTTP status of an error; 500 for what has no category.

    A process that could not be started (``StartFailed``, an ``InvalidParameter``) is 400: it is the
    request, or the image, that asks for what the kernel refuses. Docker says so of programs that
    are missing or not executable only.
    """
    for category, status in _STATUS:
        if isinstance(error, category):
            return status
    return 500
