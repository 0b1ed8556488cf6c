"""References: Docker's grammar, its normal form and its words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.errors import InvalidParameter
from ketch.oci import reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "whole", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("me/app", "docker.io/me/app", "me/app"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/me/app:1", "docker.io/me/app:1", "me/app:1"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/a/b:1", "localhost:5000/a/b:1", "localhost:5000/a/b:1"),
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        ("ghcr.io/a/b-c__d.e", "ghcr.io/a/b-c__d.e", "ghcr.io/a/b-c__d.e"),
        ("Foo/bar", "Foo/bar", "Foo/bar"),
        (f"x@{DIGEST}", f"docker.io/library/x@{DIGEST}", f"x@{DIGEST}"),
        (f"x:1@{DIGEST}", f"docker.io/library/x:1@{DIGEST}", f"x:1@{DIGEST}"),
    ],
)
def test_normal_form(text: str, whole: str, familiar: str) -> None:
    parsed = reference.parse(text)
    assert str(parsed) == whole
    assert parsed.familiar == familiar
    assert reference.parse(familiar) == parsed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("BAD", "invalid reference format: repository name (library/BAD) must be lowercase"),
        ("foo/Bar:x", "invalid reference format: repository name (foo/Bar) must be lowercase"),
        ("", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("-x", "invalid reference format"),
        ("x:", "invalid reference format"),
        ("x:" + "t" * 129, "invalid reference format"),
        ("x y", "invalid reference format"),
        ("../../etc", "invalid reference format"),
        ("x\n", "invalid reference format"),
        ("x@sha256:abc", "invalid reference format"),
        ("x@md5:" + "a" * 32, "invalid reference format: unsupported digest algorithm"),
        (f"x@sha256:{'A' * 64}", "invalid reference format: invalid checksum digest length"),
        ("a" * 256, "repository name must not be more than 255 characters"),
        (
            "a" * 64,
            f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings",
        ),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        reference.parse(text)
    assert str(caught.value) == message


def test_latest_is_added_only_when_nothing_is_given() -> None:
    assert reference.parse("x").tagged().familiar == "x:latest"
    assert reference.parse("x:1").tagged().familiar == "x:1"
    assert reference.parse(f"x@{DIGEST}").tagged().tag == ""


@given(st.text(st.sampled_from("aB0.:/@_-[]\n é"), max_size=40) | st.text(max_size=20))
def test_anything_is_parsed_to_a_stable_form_or_refused(text: str) -> None:
    try:
        parsed = reference.parse(text)
    except InvalidParameter:
        return
    assert reference.parse(str(parsed)) == parsed
    assert reference.parse(parsed.familiar) == parsed
    assert ".." not in parsed.path.split("/")
    assert not set(str(parsed)) & set("\n \0")


@pytest.mark.parametrize("tag", ["", ".x", "-x", "a/b", "a b", "x\n", "t" * 129])
def test_bad_tags(tag: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid tag format"):
        reference.check_tag(tag)
