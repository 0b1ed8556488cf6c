"""fstab words to mount attributes: what ``ro,nosuid,rslave,size=64m`` means (mount(8))."""

from ketch.linux import mountapi as m

# word -> (bits to set, bits to clear)
_ATTRIBUTES = {
    "ro": (m.ATTR_RDONLY, 0),
    "rw": (0, m.ATTR_RDONLY),
    "nosuid": (m.ATTR_NOSUID, 0),
    "suid": (0, m.ATTR_NOSUID),
    "nodev": (m.ATTR_NODEV, 0),
    "dev": (0, m.ATTR_NODEV),
    "noexec": (m.ATTR_NOEXEC, 0),
    "exec": (0, m.ATTR_NOEXEC),
    "noatime": (m.ATTR_NOATIME, m.ATTR_ATIME),
    "atime": (0, m.ATTR_ATIME),
    "relatime": (0, m.ATTR_ATIME),
    "norelatime": (0, 0),
    "strictatime": (m.ATTR_STRICTATIME, m.ATTR_ATIME),
    "nostrictatime": (0, m.ATTR_ATIME),
    "nodiratime": (m.ATTR_NODIRATIME, 0),
    "diratime": (0, m.ATTR_NODIRATIME),
    "nosymfollow": (m.ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, m.ATTR_NOSYMFOLLOW),
}
_PROPAGATION = {
    "private": m.MS_PRIVATE,
    "slave": m.MS_SLAVE,
    "shared": m.MS_SHARED,
    "unbindable": m.MS_UNBINDABLE,
}
# Said about the superblock or by tools, of no effect here: what they ask for is the default.
_DEFAULTS = frozenset(("defaults", "async", "silent", "loud", "nofail", "_netdev", "nomand"))


class Attributes:
    """What a list of fstab words asks for.

    ``set``/``clear`` for this mount, ``tree_set``/``tree_clear`` for all below it too (``rro``);
    ``propagation`` with ``tree_propagation`` telling whether it is recursive; ``bind`` and
    ``recursive`` for (r)bind; ``data`` the words left for the filesystem, as (key, value) pairs.
    """

    __slots__ = (
        "bind",
        "clear",
        "copy_up",
        "data",
        "propagation",
        "recursive",
        "set",
        "tree_clear",
        "tree_propagation",
        "tree_set",
    )

    def __init__(self) -> None:
        self.set = self.clear = self.tree_set = self.tree_clear = 0
        self.propagation = 0
        self.tree_propagation = self.bind = self.recursive = self.copy_up = False
        self.data: list[tuple[str, str | None]] = []


def known() -> "list[str]":
    """Every word that is understood, whatever the filesystem, sorted."""
    kinds = [*_PROPAGATION, *("r" + word for word in _PROPAGATION), "bind", "rbind"]
    trees = ["r" + word for word in _ATTRIBUTES]
    return sorted({*_ATTRIBUTES, *trees, *kinds, *_DEFAULTS})


def parse(words: "list[str] | tuple[str, ...]") -> Attributes:
    """The attributes of fstab words, later ones winning; unknown words go to ``data``."""
    found = Attributes()
    for word in words:
        _take(found, word)
    return found


def _take(found: Attributes, word: str) -> None:
    recursive = word[1:] if word.startswith("r") else ""
    if word in _ATTRIBUTES:
        bits, cleared = _ATTRIBUTES[word]
        found.set = found.set & ~cleared | bits
        found.clear = found.clear & ~bits | cleared
    elif recursive in _ATTRIBUTES:
        bits, cleared = _ATTRIBUTES[recursive]
        found.tree_set = found.tree_set & ~cleared | bits
        found.tree_clear = found.tree_clear & ~bits | cleared
    elif word in _PROPAGATION or recursive in _PROPAGATION:
        found.tree_propagation = recursive in _PROPAGATION
        found.propagation = _PROPAGATION[recursive if found.tree_propagation else word]
    elif word in ("bind", "rbind"):
        found.bind, found.recursive = True, word == "rbind"
    elif word == "tmpcopyup":
        found.copy_up = True
    elif word not in _DEFAULTS:
        key, equals, value = word.partition("=")
        found.data.append((key, value if equals else None))
