"""Which namespaces a sandbox gets: OCI ``linux.namespaces`` as a value.

A namespace that is not listed is the host's; one with a path is joined; others are made.
"""

from ketch.errors import InvalidParameter, Unsupported
from ketch.linux.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    NAMESPACES,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class NamespacePlan:
    """``create``: flags of the new ones; ``join``: {OCI name: path} of the shared ones."""

    __slots__ = ("create", "join")

    def __init__(self, create: int, join: "dict[str, str]") -> None:
        self.create = create
        self.join = join

    def makes(self, flag: int) -> bool:
        """Whether the namespace of ``flag`` is a new one."""
        return bool(self.create & flag)

    @property
    def clone_flags(self) -> int:
        """What clone3(2) makes. The cgroup namespace comes later: it roots where one is."""
        return self.create & ~CLONE_NEWCGROUP

    @property
    def flags(self) -> int:
        """Of all namespaces that are not the host's."""
        return self.create | sum(NAMESPACES[name][0] for name in self.join)

    @property
    def joins_before_clone(self) -> "str | None":
        """The path of a pid namespace to join: that one counts for children only."""
        return self.join.get("pid")

    @property
    def joins_after_clone(self) -> "list[tuple[str, int, str]]":
        """(name, flag, path)."""
        names = [name for name in NAMESPACES if name in self.join and name != "pid"]
        return [(name, NAMESPACES[name][0], self.join[name]) for name in names]

    @property
    def has_user(self) -> bool:
        """Whether the sandbox lives in a user namespace of its own."""
        return self.makes(CLONE_NEWUSER)


def plan_namespaces(entries: "list[dict[str, Any]]") -> NamespacePlan:
    """Read OCI ``linux.namespaces``; raises ``InvalidParameter`` or ``Unsupported``."""
    create, join = 0, {}
    seen: set[str] = set()
    for entry in entries:
        kind = entry.get("type")
        if kind not in NAMESPACES:
            raise InvalidParameter(f"unknown namespace type {kind!r}")
        if kind in seen:
            raise InvalidParameter(f"namespace {kind} is listed twice")
        seen.add(kind)
        if entry.get("path"):
            join[kind] = str(entry["path"])
        else:
            create |= NAMESPACES[kind][0]
    if "user" in join:
        raise Unsupported(
            "a sandbox cannot join a user namespace: its other namespaces are made outside of it"
        )
    if not create & CLONE_NEWNS:
        raise Unsupported("a sandbox needs a mount namespace of its own")
    if create & CLONE_NEWPID and "pid" in join:
        raise InvalidParameter("a pid namespace is either new or joined")
    return NamespacePlan(create, join)


def stands_alone(entries: "list[dict[str, Any]]") -> bool:
    """Whether nobody else is in the sandbox's pid namespace, and its users are the host's.

    Then a fitter may make it, if no time namespace is to be joined: who shares memory with another
    process cannot (setns(2)).
    """
    paths = {entry.get("type"): entry.get("path") for entry in entries}
    alone = "pid" in paths and not paths["pid"]
    return alone and "user" not in paths and not paths.get("time")


def is_fitted(start: "dict[str, Any]") -> bool:
    """Whether a fitter makes the container of a START (``fitting``)."""
    spec = start["spec"]
    if start.get("runtime") or spec.get("hooks"):  # hooks want somebody outside
        return False
    return stands_alone((spec.get("linux") or {}).get("namespaces") or [])
