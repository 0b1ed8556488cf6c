"""Security options: which there are, and what the last of several says."""

from __future__ import annotations

import pytest

from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.spec import security as spec_security
from ketch.errors import InvalidParameter, KetchError


def spec(*options: str) -> ContainerSpec:
    return ContainerSpec(image="x", security_options=options)


@pytest.mark.parametrize(
    ("options", "on"),
    [
        ((), False),
        (("no-new-privileges",), True),
        (("no-new-privileges:true",), True),
        (("no-new-privileges=true",), True),
        (("no-new-privileges=false",), False),
        (("no-new-privileges", "no-new-privileges=false"), False),
        (("seccomp=no-new-privileges",), False),
    ],
)
def test_flags(options: tuple[str, ...], on: bool) -> None:
    assert spec_security.flag(spec(*options), "no-new-privileges") is on


def test_writable_cgroups_are_for_v2_alone() -> None:
    asked = spec("writable-cgroups=true")
    spec_security.check(asked, unified_cgroups=True)
    spec_security.check(spec("writable-cgroups=false"), unified_cgroups=False)
    with pytest.raises(InvalidParameter, match="cgroup v2"):
        spec_security.check(asked, unified_cgroups=False)


@pytest.mark.parametrize(
    "option",
    ["", "bogus", "bogus=1", "seccomp", "seccomp=", "no-new-privileges=2", "apparmor=x",
     "label=level:s0", "writable-cgroups=maybe", "systempaths=unconfined"],
)  # fmt: skip
def test_refused(option: str) -> None:
    with pytest.raises(KetchError):
        spec_security.check(spec(option), unified_cgroups=True)


def test_json_has_colons_of_its_own() -> None:
    assert spec_security.options(spec('seccomp={"a": "b=c"}', "label:disable")) == [
        ("seccomp", '{"a": "b=c"}'),
        ("label", "disable"),
    ]
