"""How many files a process may have open (getrlimit(2), RLIMIT_NOFILE)."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

_KIND = resource.RLIMIT_NOFILE
_given = resource.getrlimit(_KIND)
_FEW = 64  # what a few requests need for their work


def raise_limit() -> None:
    """Raise the soft limit to the hard one, as dockerd does: a port or a container costs a file."""
    hard = resource.getrlimit(_KIND)[1]
    resource.setrlimit(_KIND, (hard, hard))


def limit() -> int:
    """How many files this process may have open now."""
    return resource.getrlimit(_KIND)[0]


def nearly_all_used(descriptor: int) -> bool:
    """Whether few are left, by one that was just opened: it is the lowest that was free."""
    return descriptor >= limit() - _FEW


@contextmanager
def as_given() -> Iterator[None]:
    """The soft limit that this process began with, for a child that is started here.

    Containers inherit it. Meanwhile nothing else should open files.
    """
    raised = resource.getrlimit(_KIND)
    resource.setrlimit(_KIND, (min(_given[0], raised[1]), raised[1]))
    try:
        yield
    finally:
        resource.setrlimit(_KIND, raised)
