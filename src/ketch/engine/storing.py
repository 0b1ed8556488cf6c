"""What cannot be stored is said in one sentence: what, where, and why the kernel refused.

The reason keeps the kernel's words (``no space left on device``), which people and programs know.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ketch.errors import KetchError, os_reason


@contextmanager
def storing(what: str) -> Iterator[None]:
    """An OSError inside, a worker's too, becomes a ``KetchError`` that names ``what``."""
    try:
        yield
    except OSError as error:
        raise KetchError(f"cannot store {what}: {os_reason(error)}") from error
    except KetchError as error:
        if type(error) is KetchError and isinstance(error.__cause__, OSError):
            raise KetchError(f"cannot store {what}: {error}") from error.__cause__
        raise
