"""Which seccomp filter a container gets: the default, one of its own, or none."""

from __future__ import annotations

from ketch.engine.model import ContainerSpec
from ketch.engine.spec_capabilities import effective
from ketch.errors import InvalidParameter
from ketch.runtime import defaults


class SeccompFilters:
    """Compiled filters, kept in ``folder`` by the digest of what they were made of."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def of(self, spec: ContainerSpec) -> str:
        """The path of the BPF program; "" for none (privileged, ``seccomp=unconfined``)."""
        if spec.privileged:
            return ""
        return ""
