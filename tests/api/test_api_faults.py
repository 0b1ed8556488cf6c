"""What the log tells of requests that fail."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import Any

import pytest

from ketch.api.server import _failed


@pytest.mark.parametrize("gone", [False, True])
def test_a_client_that_left_is_no_fault(gone: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Its answer cannot be written. A connection of ours that broke is one."""
    transport = None if gone else SimpleNamespace(is_closing=lambda: False)
    request: Any = SimpleNamespace(method="POST", path="/wait", transport=transport)
    match: Any = SimpleNamespace(route=SimpleNamespace(options=False, plain_errors=False))
    with caplog.at_level("INFO"):
        _failed(request, match, ConnectionResetError("Cannot write to closing transport"))
    assert [record.levelname for record in caplog.records] == ([] if gone else ["ERROR"])


@pytest.mark.parametrize(
    ("code", "level", "traced"),
    [(errno.EMFILE, "WARNING", False), (errno.ENOSPC, "WARNING", False), (1, "ERROR", True)],
)
def test_what_the_machine_lacks_has_no_traceback(
    code: int, level: str, traced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """One line for each request that a daemon without descriptors refuses."""
    transport = SimpleNamespace(is_closing=lambda: False)
    request: Any = SimpleNamespace(method="GET", path="/images/get", transport=transport)
    match: Any = SimpleNamespace(route=SimpleNamespace(options=False, plain_errors=False))
    with caplog.at_level("INFO"):
        answer = _failed(request, match, OSError(code, os.strerror(code)))
    assert answer.status == 500
    assert [(record.levelname, bool(record.exc_info)) for record in caplog.records] == [
        (level, traced)
    ]
