"""Contexts that are kept for the next build (``engine.builder.contexts``)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ketch.engine.builder.contexts.earlier import KeptContexts
from ketch.errors import DataCorrupt
from ketch.state.database import Database

SIZE = 5 << 20
CERTAIN = 1_700_000_000_123_456_789


def kept(folder: Path, boot: str = "one") -> KeptContexts:
    found = KeptContexts(Database(f"{folder}/db"), str(folder), boot)
    found.start()
    return found


def keep(contexts: KeptContexts, folder: Path, directory: str = "context") -> None:
    image = folder / f"image-{directory}"
    image.write_bytes(os.urandom(SIZE))
    earlier = contexts.open("client", directory)
    earlier.tell("all", certain=True)
    earlier.note("a", 100, CERTAIN, 512)
    earlier.note("b", 100, CERTAIN - CERTAIN % 10**9, 8192)
    contexts.keep("client", directory, str(image), {"digest": "x"}, earlier)


async def test_what_is_trusted(tmp_path: Path) -> None:
    contexts = kept(tmp_path)
    keep(contexts, tmp_path)
    earlier = contexts.open("client", "context")
    assert earlier.find("a", 100, CERTAIN) == 512
    assert earlier.find("a", 101, CERTAIN) is None
    assert earlier.find("a", 100, CERTAIN + 1) is None
    assert earlier.find("b", 100, CERTAIN - CERTAIN % 10**9) is None  # a tool set that time
    data = b"".join([piece async for piece in earlier.read(0, SIZE - 4096)])
    assert data == (tmp_path / "image-context").read_bytes()[4096:]
    with pytest.raises(DataCorrupt):
        [piece async for piece in earlier.read(SIZE - 4096 - 10, 20)]
    assert not earlier.tell("all", certain=False)
    assert not earlier.tell("other", certain=True)
    assert earlier.tell("all", certain=True)
    contexts.drop([earlier.record.key if earlier.record else ""])
    assert await contexts.adopt(earlier, f"{tmp_path}/taken") == {"digest": "x"}  # it was pruned
    assert (tmp_path / "taken").read_bytes() == (tmp_path / "image-context").read_bytes()
    earlier.close()
    other = contexts.open("", "context")
    assert other.find("a", 100, CERTAIN) is None


def test_nothing_is_kept_over_a_start_of_the_machine(tmp_path: Path) -> None:
    contexts = kept(tmp_path)
    keep(contexts, tmp_path)
    (tmp_path / "build-contexts/half-made").write_text("")
    again = kept(tmp_path)
    assert [one.description for one in again.usage()] == ["local source for context"]
    assert len(os.listdir(tmp_path / "build-contexts")) == 2
    assert kept(tmp_path, "two").usage() == []
    assert os.listdir(tmp_path / "build-contexts") == []


def test_what_was_used_longest_ago_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ketch.engine.builder.contexts.earlier._MOST", 2 * SIZE + 8192)
    contexts = kept(tmp_path)
    for name in ("a", "b", "c"):
        keep(contexts, tmp_path, name)
    assert [one.description[-1] for one in contexts.usage()] == ["b", "c"]
    keep(contexts, tmp_path, "b")
    assert len(os.listdir(tmp_path / "build-contexts")) == 4


def test_parts_of_a_directory_are_kept_apart(tmp_path: Path) -> None:
    """Builds of one directory that want different files don't take each other's away."""
    contexts = kept(tmp_path)
    keep(contexts, tmp_path)
    image = tmp_path / "image-part"
    image.write_bytes(bytes(SIZE))
    part = contexts.open("client", "context", ["x"])
    assert part.find("a", 100, CERTAIN) == 512  # of the whole
    assert not part.tell("x alone", certain=True)
    part.note("x", 7, CERTAIN, 1024)
    contexts.keep("client", "context", str(image), {"digest": "y"}, part, ["x"])
    assert contexts.open("client", "context", ["x"]).find("a", 100, CERTAIN) is None
    assert contexts.open("client", "context", ["x"]).find("x", 7, CERTAIN) == 1024
    assert contexts.open("client", "context").find("a", 100, CERTAIN) == 512
    assert contexts.open("client", "context", ["y"]).find("x", 7, CERTAIN) == 1024  # the latest
    assert contexts.open("other", "context", ["y"]).find("x", 7, CERTAIN) is None
