"""Search terms: which host they name, and which are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.distribution.search import INDEX, _split
from ketch.errors import InvalidParameter
from ketch.oci import reference as references


@pytest.mark.parametrize(
    ("term", "host", "words"),
    [
        ("redis", INDEX, "redis"),
        ("library/redis", INDEX, "redis"),
        ("docker.io/redis", INDEX, "redis"),
        ("host:5000/a/b", "host:5000", "a/b"),
        ("localhost/x", "localhost", "x"),
    ],
)
def test_hosts_and_words(term: str, host: str, words: str) -> None:
    assert _split(term) == (host, words)


@pytest.mark.parametrize(
    "term", ["../..", ".../x", "a..b/x", ".x/y", "-.x/y", "http://h/x", "h.x/"]
)
def test_what_is_no_host_is_refused(term: str) -> None:
    with pytest.raises(InvalidParameter):
        _split(term)


@given(st.text(alphabet="a.-:/%가 0_", max_size=12))
def test_every_term_has_a_host_that_can_be_called(term: str) -> None:
    try:
        host, words = _split(term)
    except InvalidParameter:
        return
    assert words
    assert host == INDEX or references.parse(f"{host}/x").domain == host
