"""Which cgroup hierarchies are mounted here (cgroups(7)): v1, v2 or both (hybrid)."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Hierarchy:
    """One mounted hierarchy.

    ``version`` is 1 or 2; ``mount`` where it is mounted; ``controllers`` what it controls (v1: the
    names in its mount options, or ``name=systemd`` for a named one; v2: cgroup.controllers).
    """

    __slots__ = ("controllers", "mount", "version")

    def __init__(self, version: int, mount: str, controllers: "tuple[str, ...]") -> None:
        self.version = version
        self.mount = mount
        self.controllers = controllers

    def __repr__(self) -> str:
        return f"Hierarchy({self.version}, {self.mount!r}, {self.controllers!r})"


# Words in a v1 hierarchy's options that are no controllers.
_NOT_CONTROLLERS = frozenset(
    ("rw", "ro", "xattr", "clone_children", "noprefix", "cpuset_v2_mode", "favordynmods")
)


def parse_mountinfo(lines: "Iterable[str]") -> "tuple[Hierarchy, ...]":
    """The hierarchies in /proc/<pid>/mountinfo (proc_pid_mountinfo(5)), each once, v1 first."""
    found: dict[tuple[str, ...], Hierarchy] = {}
    for line in lines:
        before, _, after = line.partition(" - ")
        mount = before.split()[4]
        kind, _, options = after.split()[:3]
        if kind == "cgroup":
            controllers = _v1_controllers(options)
            found.setdefault(controllers, Hierarchy(1, mount, controllers))
        elif kind == "cgroup2":
            found.setdefault(("",), Hierarchy(2, mount, ()))
    return tuple(sorted(found.values(), key=lambda hierarchy: hierarchy.version))


def _v1_controllers(options: str) -> "tuple[str, ...]":
    words = [word for word in options.split(",") if not word.startswith("release_agent=")]
    return tuple(word for word in words if word not in _NOT_CONTROLLERS)


_known: "tuple[Hierarchy, ...]" = ()


def detect() -> "tuple[Hierarchy, ...]":
    """The hierarchies of this machine, as the caller's mount namespace shows them.

    Looked up once: they do not change while the machine runs, and every start would pay 1 ms.
    """
    global _known
    _known = _known or _look()
    return _known


def _look() -> "tuple[Hierarchy, ...]":
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        hierarchies = parse_mountinfo(file)
    for hierarchy in hierarchies:
        if hierarchy.version == 2:
            with open(hierarchy.mount + "/cgroup.controllers", encoding="utf-8") as file:
                hierarchy.controllers = tuple(file.read().split())
    return hierarchies
