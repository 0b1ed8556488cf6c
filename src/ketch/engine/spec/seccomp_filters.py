"""Which seccomp filter a container gets: the default, one of its own, or none."""

from __future__ import annotations

from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.spec import security as spec_security
from ketch.engine.spec.oci import capabilities
from ketch.errors import Unsupported
from ketch.runtime.seccomp.compiler import compile_profile, is_program
from ketch.runtime.seccomp.docker_format import circumstances, parse_profile
from ketch.runtime.seccomp.profile import default_profile
from ketch.runtime.seccomp.rules import Profile

_REMEMBERED = 64  # filters: capabilities and texts differ little between containers


class SeccompFilters:
    """Compiled filters, kept in ``folder`` by the digest of what they were made of."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._paths: dict[tuple[str, frozenset[str]], str] = {}

    def of(self, spec: ContainerSpec) -> str:
        """The path of the BPF program; "" for none (privileged, ``seccomp=unconfined``).

        A privileged container may still ask for a profile of its own. What a profile allows may
        depend on the container's capabilities. Raises ``InvalidParameter`` or ``Unsupported``
        for a profile that can't be honoured.
        """
        asked = asked_profile(spec)
        if asked == "unconfined" or (spec.privileged and not asked):
            return ""
        held = frozenset(capabilities(spec)["bounding"])
        path = self._paths.get((asked, held), "")
        return path if path and is_program(path) else self._compile(asked, held)

    def profile(self, spec: ContainerSpec) -> Profile | None:
        """What ``of`` compiles, for runtimes that do that themselves."""
        asked = asked_profile(spec)
        if asked == "unconfined" or (spec.privileged and not asked):
            return None
        return _profile(asked, frozenset(capabilities(spec)["bounding"]))

    def _compile(self, asked: str, held: frozenset[str]) -> str:
        path = compile_profile(_profile(asked, held), self._folder)
        while len(self._paths) >= _REMEMBERED:
            del self._paths[next(iter(self._paths))]
        self._paths[asked, held] = path
        return path


def asked_profile(spec: ContainerSpec) -> str:
    """``unconfined``, ``builtin``, a profile's JSON, or "" without a wish; the last one counts."""
    values = [value for name, value in spec_security.options(spec) if name == "seccomp"]
    return values[-1] if values else ""


def _profile(asked: str, held: frozenset[str]) -> Profile:
    if asked in ("", "builtin"):
        return default_profile(held)
    profile = parse_profile(asked, circumstances(held))
    if profile.flags:
        raise Unsupported(f"seccomp profile: flag '{profile.flags[0]}' is not supported by ketch")
    return profile
