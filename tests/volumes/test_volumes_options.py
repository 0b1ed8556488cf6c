"""Options of the local driver."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.errors import KetchError
from ketch.volumes.options import bound_directory


def test_a_bound_directory() -> None:
    assert bound_directory({}) == ""
    assert bound_directory({"type": "none", "o": "bind", "device": "/srv//data/"}) == "/srv/data"
    assert bound_directory({"o": "rw,rbind", "device": "/"}) == "/"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"o": "bind"}, 'missing required option: "device"'),
        ({"o": "bind", "device": "srv"}, "no absolute path"),
        ({"o": "bind", "device": "/a", "sise": "1"}, 'invalid option: "sise"'),
        ({"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}, "type 'tmpfs'"),
        ({"type": "nfs", "device": ":/x", "o": "addr=192.0.2.9"}, "type 'nfs'"),
        ({"type": "ext4", "o": "bind", "device": "/a"}, "contradicts"),
        ({"o": "bind,ro", "device": "/a"}, "'ro'"),
    ],
)
def test_refusals_name_what_is_wrong(options: dict[str, str], words: str) -> None:
    with pytest.raises(KetchError, match=words):
        bound_directory(options)


@given(st.dictionaries(st.sampled_from(["type", "o", "device", "x"]), st.text(max_size=12)))
def test_anything_else_is_refused(options: dict[str, str]) -> None:
    try:
        found = bound_directory(options)
    except KetchError:
        return
    assert found == "" or (found.startswith("/") and "\0" not in found)
