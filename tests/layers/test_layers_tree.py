"""What entries mean together: merging, links, whiteouts, and what no tree can hold."""

from __future__ import annotations

import stat

import pytest

from ketch.errors import InvalidParameter, Unsupported
from ketch.layers.entry import Entry
from ketch.layers.tree import Node, Tree


def tree(*entries: Entry) -> Tree:
    made = Tree()
    for entry in entries:
        made.add(entry)
    return made


def file(name: str, **attributes) -> Entry:
    return _entry(name, stat.S_IFREG | 0o644, attributes)


def folder(name: str, **attributes) -> Entry:
    return _entry(name, stat.S_IFDIR | 0o750, attributes)


def link(name: str, target: str) -> Entry:
    return _entry(name, stat.S_IFLNK | 0o777, {"link": target.encode()})


def hard(name: str, target: str) -> Entry:
    return _entry(name, stat.S_IFREG, {"link": target.encode(), "hardlink": True})


def _entry(name: str, mode: int, attributes: dict) -> Entry:
    entry = Entry(name.encode(), mode)
    for key, value in attributes.items():
        setattr(entry, key, value)
    return entry


def find(made: Tree, path: str) -> Node | None:
    node: Node | None = made.root
    for part in path.split("/"):
        node = (node.children or {}).get(part.encode()) if node else None
    return node


HOSTILE = {
    "parent": [file("../x")],
    "parent inside": [file("a/../../x")],
    "nul": [file("a\0b")],
    "long name": [file("n" * 256)],
    "long path": [file("a/" * 2100)],
    "deep": [file("d/" * 300 + "x")],
    "child of a file": [file("a"), file("a/b")],
    "hard link out": [hard("h", "../../etc/passwd")],
    "hard link to nothing": [hard("h", "/etc/passwd")],
    "hard link to a directory": [folder("d"), hard("h", "d")],
    "hard link through a link": [link("l", "/etc"), hard("h", "l/passwd")],
    "hard link to a whiteout": [file(".wh.x"), hard("h", "x")],
    "link loop": [link("a", "b"), link("b", "a"), file("a/x")],
    "whiteout of nothing": [file(".wh.")],
    "whiteout of dot": [file(".wh..")],
    "whiteout of parent": [file(".wh...")],
    "whiteout as directory": [file(".wh.a/b")],
    "root as file": [file(".")],
    "root as link": [link("./", "/etc")],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused_by_name(case):
    with pytest.raises(InvalidParameter, match="entry '"):
        tree(*HOSTILE[case])


def test_links_are_followed_inside_the_tree_only():
    made = tree(link("out", "/../../etc"), file("out/passwd"), link("up", ".."), file("up/top"))
    assert find(made, "etc/passwd")
    assert find(made, "top")


def test_missing_parents_are_made():
    made = tree(file("/a//./b/c"))
    directory = find(made, "a/b")
    assert directory
    assert directory.mode == stat.S_IFDIR | 0o755


def test_a_directory_described_late_keeps_its_children():
    made = tree(file("d/x"), folder("d", uid=7))
    directory = find(made, "d")
    assert directory
    assert directory.uid == 7
    assert find(made, "d/x")


def test_hard_link_to_a_symbolic_link_is_that_link():
    made = tree(link("s", "/etc/passwd"), hard("h", "s"))
    assert find(made, "h") is find(made, "s")


def test_whiteouts_hide_lower_layers_only():
    made = tree(file("d/kept"), file("d/.wh.gone"), file("d/.wh.kept"), file(".wh.d"))
    gone = find(made, "d/gone")
    assert gone
    assert (gone.mode, gone.rdev) == (stat.S_IFCHR, (0, 0))
    assert stat.S_ISREG(find(made, "d/kept").mode)
    assert find(made, "d").opaque


def test_directory_in_place_of_a_whiteout_is_opaque():
    assert find(tree(file(".wh.d"), folder("d")), "d").opaque
    assert find(tree(file(".wh.d"), file("d/x")), "d").opaque
    assert not find(tree(folder("d")), "d").opaque


def test_opaque_marker_and_reserved_names():
    made = tree(file("d/.wh..wh..opq"), folder("d"), file(".wh..wh.plnk/1.2"), file(".wh..wh.aufs"))
    assert find(made, "d").opaque
    assert list(made.root.children) == [b"d"]
    with pytest.raises(Unsupported):
        tree(file(".wh..wh..opq"))


def test_overlay_xattrs_and_unknown_ones_are_dropped():
    made = tree(
        folder(
            "d",
            xattrs={
                b"trusted.overlay.redirect": b"/etc",
                b"trusted.overlay.opaque": b"y",
                b"user.overlay.metacopy": b"",
                b"com.apple.quarantine": b"q",
                b"user.": b"q",
                b"user.kept": b"1",
                b"security.capability": b"2",
            },
        )
    )
    assert find(made, "d").xattrs == {b"user.kept": b"1", b"security.capability": b"2"}
    assert not find(made, "d").opaque
