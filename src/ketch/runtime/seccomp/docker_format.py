"""Docker's JSON of seccomp profiles: OCI's, with rules that depend on capabilities and machine."""

from __future__ import annotations

import json
import platform
import re
from dataclasses import dataclass
from typing import Any

from ketch.errors import InvalidParameter
from ketch.runtime.seccomp import json_fields as f
from ketch.runtime.seccomp.numbers import GO_NAMES, native_architectures
from ketch.runtime.seccomp.oci_format import DOCUMENT, RULE, rule, top
from ketch.runtime.seccomp.rules import Profile, Rule

_LONGEST = 1 << 20  # characters
_DOCUMENT = DOCUMENT | {"archMap"}
_RULE = RULE | {"name", "comment", "includes", "excludes"}
_FILTER = frozenset(("caps", "arches", "minKernel"))


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What rules may depend on: capabilities, machine in Go's words, kernel (major, minor)."""

    capabilities: frozenset[str]
    machine: str
    kernel: tuple[int, int]


def circumstances(capabilities: frozenset[str]) -> Circumstances:
    """Those of this machine."""
    machine = platform.machine()
    return Circumstances(capabilities, GO_NAMES.get(machine, machine), _version(platform.release()))


def parse_profile(content: str, here: Circumstances) -> Profile:
    """A profile as the docker CLI sends it in ``seccomp=<json>``.

    Raises ``InvalidParameter`` naming what is unknown or malformed, ``Unsupported`` for
    notifications.
    """
    if len(content) > _LONGEST:
        raise InvalidParameter(f"seccomp profile: longer than {_LONGEST} characters")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"seccomp profile: not JSON: {error}") from None
    given = f.fields(document, "the profile", _DOCUMENT)
    rules = [_rule(item, here) for item in f.items(given.get("syscalls"), "syscalls")]
    return top(given, _architectures(given), [kept for kept in rules if kept is not None])


def _architectures(given: dict[str, Any]) -> tuple[str, ...]:
    named = f.architectures(given.get("architectures"), "architectures")
    mapping = f.items(given.get("archMap"), "archMap")
    if named and mapping:
        raise InvalidParameter("seccomp profile: 'architectures' and 'archMap' exclude each other")
    native = native_architectures()[0]
    for entry in mapping:
        pair = f.fields(entry, "archMap", ("architecture", "subArchitectures"))
        main = f.architectures([pair.get("architecture")], "architecture")
        others = f.architectures(pair.get("subArchitectures"), "subArchitectures")
        if main == (native,):
            named = main + others
    return named


def _rule(item: Any, here: Circumstances) -> Rule | None:
    """The rule, or ``None`` when it does not apply here."""
    given = f.fields(item, "syscalls", _RULE)
    names = f.texts(given.get("names"), "names")
    if "name" in given:
        if names:
            raise InvalidParameter("seccomp profile: 'name' and 'names' exclude each other")
        names = (f.text(given["name"], "name"),)
    made = rule(given, names)
    includes = f.fields(given.get("includes", {}), "includes", _FILTER)
    excludes = f.fields(given.get("excludes", {}), "excludes", _FILTER)
    held = [all(part) for part in _parts(includes, here)]
    barred = [any(part) for part in _parts(excludes, here)]
    return made if all(held) and not any(barred) else None


def _parts(given: dict[str, Any], here: Circumstances) -> list[list[bool]]:
    """What of a filter is met: each capability, the machine, the kernel."""
    capabilities = f.texts(given.get("caps"), "caps")
    arches = f.texts(given.get("arches"), "arches")
    kernel = f.text(given.get("minKernel", ""), "minKernel")
    return [
        [capability in here.capabilities for capability in capabilities],
        [here.machine in arches] if arches else [],
        [here.kernel >= _version(kernel)] if kernel else [],
    ]


def _version(release: str) -> tuple[int, int]:
    found = re.match(r"(\d{1,4})\.(\d{1,4})", release)
    if found is None:
        raise InvalidParameter(f"seccomp profile: '{release:.40}' is no kernel version")
    return int(found[1]), int(found[2])
