"""Platforms: parsing, normal forms, choice among those of an index."""

from __future__ import annotations

import pytest

from ketch.errors import InvalidParameter
from ketch.oci.platform import Platform, choose, host, parse


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/x86_64", "linux/amd64"),
        ("amd64", "linux/amd64"),
        ("armhf", "linux/arm/v7"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_normal_form(text: str, normal: str) -> None:
    assert str(parse(text)) == normal


def test_the_host() -> None:
    assert host().os == "linux"
    assert parse("linux") == host()


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux/amd 64", "linux//v7"])
def test_bad(text: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid platform"):
        parse(text)


def test_choice() -> None:
    offered = [
        Platform(os="windows", architecture="amd64"),
        Platform(os="linux", architecture="arm", variant="v6"),
        Platform(os="linux", architecture="arm", variant="v7"),
        Platform(os="linux", architecture="386"),
        Platform(os="linux", architecture="arm64", variant="v8"),
        None,
        Platform(os="unknown", architecture="unknown"),
    ]
    assert choose(offered, parse("linux/arm/v7")) == 2
    assert choose(offered, parse("linux/arm/v5")) is None
    assert choose(offered, parse("linux/arm64")) == 4
    assert choose(offered, parse("linux/amd64")) == 3
    assert choose(offered, parse("linux/riscv64")) is None
    assert choose([], parse("linux/amd64")) is None
