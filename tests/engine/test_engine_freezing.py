"""Freezing a container that ends at the same time."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest

from ketch.engine.containers import cgroup
from ketch.engine.containers.record import ContainerState
from ketch.errors import Conflict
from ketch.runtime.cgroups.group import Cgroup


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ENODEV])
def test_a_group_that_has_just_gone(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel answers ENODEV when the group is removed while its file is open."""

    def gone(_group: Cgroup, _frozen: bool) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Cgroup, "freeze", gone)
    monkeypatch.setattr(cgroup, "of", lambda _state: Cgroup("/parent", "name", ()))
    with pytest.raises(Conflict, match="it has just ended"):
        asyncio.run(cgroup.freeze(ContainerState(), True))
