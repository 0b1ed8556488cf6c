"""Which seccomp filter a container gets: the default, one of its own, or none."""

from __future__ import annotations

from ketch.engine.model import ContainerSpec
from ketch.engine.spec_oci import capabilities
from ketch.runtime.seccomp.compiler import compile_profile
from ketch.runtime.seccomp.docker_format import circumstances, parse_profile
from ketch.runtime.seccomp.profile import default_profile

_DEFAULT, _NONE = ("", "builtin", "default"), "unconfined"


class SeccompFilters:
    """Compiled filters, kept in ``folder`` by the digest of what they were made of."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._paths: dict[tuple[str, frozenset[str]], str] = {}

    def of(self, spec: ContainerSpec) -> str:
        """The path of the BPF program; "" for none (privileged, ``seccomp=unconfined``).

        What a profile allows may depend on the container's capabilities. Raises
        ``InvalidParameter`` or ``Unsupported`` for a profile that can't be honoured.
        """
        wanted = asked_profile(spec)
        if wanted == _NONE or (spec.privileged and wanted in _DEFAULT):
            return ""
        held = frozenset(capabilities(spec)["bounding"])
        path = self._paths.get((wanted, held))
        if path is None:
            path = self._paths[wanted, held] = self._compiled(wanted, held)
        return path

    def _compiled(self, wanted: str, held: frozenset[str]) -> str:
        if wanted in _DEFAULT:
            profile = default_profile(held)
        else:
            profile = parse_profile(wanted, circumstances(held))
        return compile_profile(profile, self._folder)


def asked_profile(spec: ContainerSpec) -> str:
    """The value of the last ``--security-opt seccomp=…``: a word, or a profile's JSON."""
    value = ""
    for option in spec.security_options:
        name, _, given = option.replace(":", "=", 1).partition("=")
        if name == "seccomp":
            value = given
    return value
