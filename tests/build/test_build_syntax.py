"""Which front end a file is for."""

from __future__ import annotations

import pytest

from ketch.build.dockerfile.syntax import syntax_of


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"# syntax=a/b:1\nFROM x\n", ("a/b:1", 1)),
        (b"\xef\xbb\xbf#Syntax = a/b more words \r\nnot a Dockerfile", ("a/b more words", 1)),
        (b"# escape=`\n# check=skip=all\n# syntax=a/b\n", ("a/b", 3)),
        (b"#!/usr/bin/env x\n# syntax=a/b\n", ("a/b", 2)),
        (b"// syntax=a/b\nexport default 1\n", ("a/b", 1)),
        (b'{"syntax": "a/b", "x": 1}\n', ("a/b", 1)),
        (b"# a comment\n# syntax=a/b\n", ("", 1)),
        (b"\n# syntax=a/b\n", ("", 1)),
        (b'{"syntax": 1}', ("", 1)),
        (b"{" * 100_000, ("", 1)),
        (b'{"a":' * 100_000, ("", 1)),
        (b"", ("", 1)),
    ],
)
def test_where_the_directive_may_be(text: bytes, found: tuple[str, int]) -> None:
    assert syntax_of(text) == found
