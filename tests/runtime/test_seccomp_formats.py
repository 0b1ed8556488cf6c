"""Profiles as JSON: Docker's and OCI's, strictly read; every comparison, evaluated."""

import json
import operator
import platform

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seccomp_machine import call, run

from ketch.errors import InvalidParameter, KetchError, Unsupported
from ketch.runtime.seccomp import compiler
from ketch.runtime.seccomp.docker_format import Circumstances, parse_profile
from ketch.runtime.seccomp.oci_format import read_seccomp
from ketch.runtime.seccomp.rules import (
    ALLOW,
    ENOSYS,
    ERRNO,
    KILL_PROCESS,
    Condition,
    Op,
    Profile,
    Rule,
)

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="evaluates x86 ABIs")

HERE = Circumstances(frozenset(["CAP_CHOWN"]), "amd64", (6, 1))
REFUSED = ERRNO | 1


def docker(*syscalls, **more):
    text = json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": syscalls, **more})
    return parse_profile(text, HERE)


def allow(*names, **more):
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", **more}


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ({"includes": {"caps": ["CAP_CHOWN"]}}, True),
        ({"includes": {"caps": ["CAP_CHOWN", "CAP_BPF"]}}, False),
        ({"includes": {"arches": ["amd64", "x32"]}}, True),
        ({"includes": {"arches": ["arm64"]}}, False),
        ({"includes": {"minKernel": "4.8"}}, True),
        ({"includes": {"minKernel": "6.10"}}, False),
        ({"excludes": {"caps": ["CAP_BPF"]}}, True),
        ({"excludes": {"caps": ["CAP_BPF", "CAP_CHOWN"]}}, False),
        ({"excludes": {"arches": ["amd64"]}}, False),
        ({"excludes": {"minKernel": "6.1"}}, False),
        ({"includes": {}, "excludes": {}, "comment": "?", "args": None}, True),
    ],
)
def test_conditions_of_rules(more, kept):
    assert bool(docker(allow("read", **more)).rules) == kept


def test_docker_profile_is_compiled_for_its_architectures():
    mapping = [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}]
    program = compiler.program(docker({**allow(), "name": "read"}, archMap=mapping))
    assert call(program, "x86_64", "read") == call(program, "i386", "read") == ALLOW
    assert call(program, "x32", "read") == KILL_PROCESS


def test_errno_of_rule_and_default():
    program = compiler.program(
        docker(
            allow("write", "no_such_call"),
            {"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            defaultErrnoRet=13,
        )
    )
    assert call(program, "x86_64", "read") == ERRNO | 38
    assert call(program, "x86_64", "write") == ALLOW
    assert call(program, "x86_64", "open") == ERRNO | ENOSYS  # newer than any that is named


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"defaultAction": "SCMP_ACT_MAYBE"}, "SCMP_ACT_MAYBE"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]}, "SCMP_ARCH_VAX"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "sycalls": []}, "sycalls"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}, "4096"),
        ({}, "defaultAction"),
        ([], "object"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [allow("a", include={})]}, "include"),
        (
            {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [allow("read", args=[{"index": 0, "value": 1, "op": "SCMP_CMP_XX"}])],
            },
            "SCMP_CMP_XX",
        ),
        (
            {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [allow("read", args=[{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}])],
            },
            "index",
        ),
    ],
)
def test_what_is_unknown_is_refused_by_name(document, named):
    with pytest.raises(InvalidParameter, match=named):
        read_seccomp(document)
    with pytest.raises(InvalidParameter, match=named):
        parse_profile(json.dumps(document), HERE)


def test_notifications_are_not_supported():
    with pytest.raises(Unsupported, match="SCMP_ACT_NOTIFY"):
        docker({"names": ["read"], "action": "SCMP_ACT_NOTIFY"})
    with pytest.raises(Unsupported, match="listenerPath"):
        read_seccomp({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent"})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["defaultAction", "syscalls", "names", "action", "args", "op", "archMap"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
@settings(max_examples=200, deadline=None)
def test_hostile_json_fails_cleanly(document):
    try:
        compiler.program(parse_profile(json.dumps(document), HERE))
    except KetchError:
        pass


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "{}" * (1 << 20), "9" * 5000])
def test_text_that_is_no_profile(content):
    with pytest.raises(InvalidParameter):
        parse_profile(content, HERE)


_MEANING = {
    Op.NE: operator.ne,
    Op.LT: operator.lt,
    Op.LE: operator.le,
    Op.EQ: operator.eq,
    Op.GE: operator.ge,
    Op.GT: operator.gt,
}
_WORDS = st.sampled_from([0, 1, 2, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, 1 << 63, (1 << 64) - 1])
_VALUES = _WORDS | st.integers(0, (1 << 64) - 1)


@given(st.sampled_from(list(_MEANING)), _VALUES, _VALUES, st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_comparisons_are_of_64_bits(op, value, argument, index):
    rule = Rule(("read",), ALLOW, (Condition(index, op, value),))
    program = compiler.program(Profile(REFUSED, (), (rule,)))
    arguments = [0] * index + [argument]
    expected = ALLOW if _MEANING[op](argument, value) else REFUSED
    assert run(program, 0xC000003E, 0, arguments) == expected


@given(_VALUES, _VALUES, _VALUES)
@settings(max_examples=200, deadline=None)
def test_masks_and_conjunction(mask, value, argument):
    masked = Condition(0, Op.MASKED_EQ, value & mask, mask)
    rule = Rule(("read",), ALLOW, (masked, Condition(1, Op.NE, 7)))
    program = compiler.program(Profile(REFUSED, (), (rule,)))
    expected = ALLOW if argument & mask == value & mask else REFUSED
    assert run(program, 0xC000003E, 0, [argument, 8]) == expected
    assert run(program, 0xC000003E, 0, [argument, 7]) == REFUSED


def test_conditions_first_then_the_stricter():
    strict = Condition(0, Op.EQ, 5)
    rules = (
        Rule(("read",), ALLOW),
        Rule(("read",), ALLOW, (Condition(0, Op.LT, 9),)),
        Rule(("read",), ERRNO | 38, (strict,)),
    )
    program = compiler.program(Profile(REFUSED, (), rules))
    assert run(program, 0xC000003E, 0, [5]) == ERRNO | 38
    assert run(program, 0xC000003E, 0, [6]) == run(program, 0xC000003E, 0, [99]) == ALLOW


def test_a_program_too_long_is_refused():
    rules = tuple(Rule(("read",), ALLOW, (Condition(0, Op.EQ, n),)) for n in range(2000))
    with pytest.raises(InvalidParameter, match="4096"):
        compiler.program(Profile(REFUSED, (), rules))
