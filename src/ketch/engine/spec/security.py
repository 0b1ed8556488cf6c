"""``--security-opt``: which there are, and what they say (pure)."""

from __future__ import annotations

from ketch.engine.containers.spec import ContainerSpec
from ketch.errors import InvalidParameter, Unsupported

_FLAGS = ("no-new-privileges", "writable-cgroups")
_ABSENT = {"apparmor": "AppArmor", "label": "SELinux"}


def options(spec: ContainerSpec) -> list[tuple[str, str]]:
    """(name, value) of each; a colon separates only where there is no equals sign."""
    found = []
    for option in spec.security_options:
        name, _, value = option.partition("=" if "=" in option else ":")
        found.append((name, value))
    return found


def flag(spec: ContainerSpec, name: str) -> bool:
    """Whether a flag is on; the last one counts, and one without a value is on."""
    values = [value for found, value in options(spec) if found == name]
    return bool(values) and values[-1] in ("", "true")


def check(spec: ContainerSpec, unified_cgroups: bool) -> None:
    """Raise ``InvalidParameter`` or ``Unsupported`` for an option that cannot be honoured."""
    for option, (name, value) in zip(spec.security_options, options(spec), strict=True):
        if name in _FLAGS:
            _check_flag(name, value)
        elif name in _ABSENT:
            _check_label(option, name, value)
        elif name != "seccomp" or not value:
            raise InvalidParameter(f'invalid --security-opt 2: "{option}"')
    if flag(spec, "writable-cgroups") and not unified_cgroups:
        raise InvalidParameter(
            "security option 'writable-cgroups' needs a machine with cgroup v2 alone: on cgroup v1 "
            "a writable hierarchy would give the host away"
        )


def _check_flag(name: str, value: str) -> None:
    if value not in ("", "true", "false"):
        raise InvalidParameter(f'invalid --security-opt: "{name}={value}": it is true or false')


def _check_label(option: str, name: str, value: str) -> None:
    """Confinement by AppArmor and SELinux is not there, so only its absence can be asked for."""
    if (name, value) not in (("apparmor", "unconfined"), ("label", "disable")):
        raise Unsupported(
            f"security option '{option}' is not supported by ketch: it does not confine by "
            f"{_ABSENT[name]}"
        )
