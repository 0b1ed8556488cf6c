"""Which paths of its contexts a build is taken to name (``build.wanted``)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from build.fakes import PLATFORM
from ketch.build.contexts.wanted import ALL, covers, wanted
from ketch.build.prepared import prepare
from ketch.build.request.options import BuildOptions
from ketch.build.tasks import copy as copy_tasks
from ketch.errors import NotFound

CASES = {
    "COPY a b/c/ /to/": {"": {"a", "b/c"}},
    "COPY /a/../b ./c /to/": {"": {"b", "c"}},
    "COPY package*.json src/[ab] /to/": {"": {"package*.json", "src/[ab]"}},
    'COPY ["a b", "c", "/to/"]': {"": {"a b", "c"}},
    "COPY . /to": {"": {ALL}},
    "COPY ../.. /to": {"": {ALL}},
    "ADD a http://localhost/b https://localhost/c.git /to/": {"": {"a"}},
    "COPY a <<E /to/\nx\nE": {"": {"a"}},
    "COPY --parents a/./b/**/c /to/": {"": {"a/b/**/c"}},
    "COPY a /to/ # why": {"": {"a", "to", "#"}},
    "RUN true": {},
    "RUN --mount=type=bind,target=/m true": {"": {ALL}},
    "RUN --mount=source=x,target=/m --mount=type=tmpfs,target=/t true": {"": {"x"}},
    "RUN --mount=type=cache,target=/m true": {},
    "RUN --mount=type=cache,target=/m,from=near,source=s true": {"there": {"s"}},
    "COPY --from=near d /to\nCOPY e /to": {"there": {"d"}, "": {"e"}},
    "COPY --from=first d /to": {"": {"of-first"}},
    "COPY --from=0 d /to": {"": {"of-first"}},
    "COPY --from=busybox d /to": {},
    "COPY --from=far d /to": {},
    "ARG D=src\nCOPY $D/x ${G} $GIVEN /to/": {"": {"src/x", ALL}},
    "ARG G\nARG GIVEN=no\nCOPY ${G} $GIVEN /to/": {"": {"global", "yes"}},
    "ENV D=env\nARG D=arg\nCOPY $D /to/\nENV D=late\nCOPY $D /to/": {"": {"arg", "late"}},
    "COPY a${OF_BASE} /to": {"": {ALL}},
    "COPY a${OF_BASE:-x} /to": {"": {"ax"}},
    "COPY a${ /to": {"": {ALL}},
    "FROM first\nCOPY $INHERITED /to": {"": {"inherited", "of-first"}},
    "FROM near\nCOPY x /to": {"there": {ALL}, "": {"x"}},
}
FIRST = "ARG G=global\nFROM scratch AS first\nARG INHERITED=inherited\nCOPY of-first /\n"


@pytest.mark.parametrize("text", CASES)
def test_what_is_named(text: str) -> None:
    whole = FIRST + (text if text.startswith("FROM") else f"FROM busybox\n{text}")
    options = BuildOptions(
        build_args={"GIVEN": "yes"},
        contexts={"near": "local:there", "far": "docker-image://busybox"},
    )
    prepared = prepare(whole.encode(), options, PLATFORM)
    expected = {context: frozenset(paths) for context, paths in CASES[text].items()}
    assert wanted([prepared]) == expected
    assert prepared.scope.unused() == ["GIVEN"]  # reading ahead declares nothing


def test_what_is_there() -> None:
    assert covers(frozenset(("a", "b/c")), ["/a/", "./b//c"])
    assert not covers(frozenset(("b",)), ["b/c"])  # b/c may be a link to d
    assert covers(frozenset((ALL, "a")), ["whatever"])


@pytest.mark.parametrize(
    ("source", "partial"),
    [
        ("plain/x", False),
        ("missing/x", False),
        ("p*/x", False),
        ("one", False),
        ("link", True),
        ("link/x", True),
        ("dangling", True),
        ("l*", True),
        ("*/inner/x", True),
    ],
)
@pytest.mark.root
def test_links_that_lead_out_of_what_was_sent(tmp_path: Path, source: str, partial: bool) -> None:
    """A part of a context is enough for a source, unless a link needs more of it."""
    for name in ("plain", "one"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("x")
    (tmp_path / "link").symlink_to("plain")
    (tmp_path / "dangling").symlink_to("not-sent")
    (tmp_path / "one/inner").symlink_to("/plain")  # may be there in part only
    root_fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        asked = {"sources": [source], "partial": True}
        try:
            answer = copy_tasks.checksum(asked, [root_fd])
        except NotFound:
            answer = {}
    finally:
        os.close(root_fd)
    assert answer.get("partial", False) is partial
