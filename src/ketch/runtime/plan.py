"""From an OCI runtime configuration to the steps of a launch, as values.

Nothing here touches the kernel: ``plan_launch`` can be called, compared and tested without root.
The child of the sandbox executes the steps in the order of ``LaunchPlan``'s fields. A plan is
made of builtin types below its top level, so that it crosses the socket by ``marshal``.
"""

from ketch.errors import InvalidParameter, Unsupported
from ketch.mounts import Mount
from ketch.runtime import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Spec = dict[str, Any]

TREES = ("/proc", "/dev", "/sys")  # prepared in the warm stage, moved whole
PREPARED = "prepared"
_NUMBERS = ("cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime")
_COVERABLE = frozenset(f"/proc/{name}" for name in _NUMBERS)


class LaunchPlan:
    """What the child does between being parked and becoming the container's program.

    ``mounts``: in order; type ``prepared`` moves a whole tree made in the warm stage, ``bind``
    takes the fd at the same index in ``bind_sources`` (host paths for the parent to open).
    ``masked``/``readonly``: paths still to be covered after that.
    """

    __slots__ = (
        "bind_sources",
        "devices",
        "domainname",
        "hostname",
        "masked",
        "mounts",
        "process",
        "readonly",
        "root_propagation",
        "root_readonly",
        "sysctls",
    )

    def __init__(self, mounts: "list[Mount]") -> None:
        self.mounts = mounts
        self.bind_sources: list[Mount] = [mount for mount in mounts if mount.type == "bind"]
        self.masked: list[str] = []
        self.readonly: list[str] = []
        self.devices: list[Spec] = []
        self.sysctls: dict[str, str] = {}
        self.hostname = self.domainname = self.root_propagation = ""
        self.root_readonly = False
        self.process: Spec = {}

    def to_wire(self) -> "dict[str, object]":
        """Builtin types alone."""
        wire: dict[str, object] = {
            name: getattr(self, name)
            for name in self.__slots__
            if name not in ("mounts", "bind_sources")
        }
        wire["mounts"] = [mount.to_wire() for mount in self.mounts]
        return wire


def plan_launch(spec: "Spec", *, has_user_namespace: bool = False, warm: bool = True) -> LaunchPlan:
    """The plan of an OCI configuration; raises ``InvalidParameter``, ``Unsupported``.

    ``warm`` says that the default pseudo filesystems are prepared and may be used where the
    configuration wants exactly them.
    """
    refuse_unsupported(spec)
    linux = spec.get("linux") or {}
    mounts = plan_mounts(spec.get("mounts") or [])
    masked = list(linux.get("maskedPaths") or [])
    readonly = list(linux.get("readonlyPaths") or [])
    trees = usable_trees(mounts, masked, readonly) if warm else ()
    mounts = use_trees(mounts, trees)
    devices = [dict(device) for device in linux.get("devices") or []]
    if has_user_namespace:
        mounts += bind_devices(mounts, devices)
        devices = []
    plan = LaunchPlan(mounts)
    plan.devices = devices
    plan.masked = [path for path in masked if not _covered(path, trees, prepared_masks())]
    plan.readonly = [
        path for path in readonly if not _covered(path, trees, defaults.READONLY_PATHS)
    ]
    plan.sysctls = dict(linux.get("sysctl") or {})
    plan.hostname, plan.domainname = spec.get("hostname") or "", spec.get("domainname") or ""
    plan.root_readonly = bool((spec.get("root") or {}).get("readonly"))
    plan.root_propagation = linux.get("rootfsPropagation") or ""
    return plan


def prepared_masks() -> "tuple[str, ...]":
    """Paths that the warm stage has masked; computed once."""
    global _prepared_masks
    if _prepared_masks is None:
        _prepared_masks = tuple(defaults.masked_paths())
    return _prepared_masks


_prepared_masks: "tuple[str, ...] | None" = None


def plan_mounts(entries: "list[Spec]") -> "list[Mount]":
    """OCI ``mounts`` as ``Mount`` values."""
    mounts = []
    for entry in entries:
        target = entry.get("destination") or ""
        if not target or "\0" in target:
            raise InvalidParameter(f"mount without a usable destination: {entry!r}")
        target = "/" + "/".join(part for part in target.split("/") if part not in ("", "."))
        _refuse_inside_proc(target)
        words = [str(word) for word in entry.get("options") or []]
        kind = str(entry.get("type") or "")
        if kind in ("bind", "rbind", "none", "") or "bind" in words or "rbind" in words:
            kind = "bind"
        for key in ("uidMappings", "gidMappings"):
            if entry.get(key):
                raise Unsupported(f"mount {target}: {key} (ID-mapped mounts) is not supported")
        mounts.append(Mount(kind, str(entry.get("source") or kind), target, tuple(words)))
    return mounts


def _refuse_inside_proc(target: str) -> None:
    """Below /proc only files that tell numbers may be covered: the rest steers the kernel.

    An image's VOLUME could otherwise cover /proc/self/attr or /proc/sys (CVE-2019-16884).
    """
    if target.startswith("/proc/") and target not in _COVERABLE:
        raise InvalidParameter(f"cannot mount at {target}: it is inside /proc")


def _in_tree(path: str, tree: str) -> bool:
    return path == tree or path.startswith(tree + "/")


def usable_trees(
    mounts: "list[Mount]", masked: "list[str]", readonly: "list[str]"
) -> "tuple[str, ...]":
    """Those of ``TREES`` that are wanted exactly as the warm stage has made them, or stricter."""
    return tuple(
        tree
        for tree in TREES
        if _members(mounts, tree) == _default_members()[tree]
        and _has_all(masked, prepared_masks(), tree)
        and _has_all(readonly, defaults.READONLY_PATHS, tree)
    )


def _members(mounts: "list[Mount]", tree: str) -> "list[tuple[str, str, frozenset[str]]]":
    """What is mounted in a tree, binds aside: those are put on top anyway."""
    return [
        (mount.target, mount.type, frozenset(mount.options))
        for mount in mounts
        if mount.type != "bind" and _in_tree(mount.target, tree)
    ]


def _default_members() -> "dict[str, list[tuple[str, str, frozenset[str]]]]":
    global _default_trees
    if _default_trees is None:
        default = plan_mounts(defaults.default_mounts())
        _default_trees = {tree: _members(default, tree) for tree in TREES}
    return _default_trees


_default_trees: "dict[str, list[tuple[str, str, frozenset[str]]]] | None" = None


def _has_all(given: "list[str]", wanted: "tuple[str, ...]", tree: str) -> bool:
    return all(path in given for path in wanted if _in_tree(path, tree))


def use_trees(mounts: "list[Mount]", trees: "tuple[str, ...]") -> "list[Mount]":
    """Replace the members of each tree by one ``prepared`` step where its root was."""
    planned = []
    for mount in mounts:
        tree = next((tree for tree in trees if _in_tree(mount.target, tree)), "")
        if mount.type == "bind" or not tree:
            planned.append(mount)
        elif mount.target == tree:
            planned.append(Mount(PREPARED, tree, tree))
    return planned


def _covered(path: str, trees: "tuple[str, ...]", prepared: "tuple[str, ...]") -> bool:
    return path in prepared and any(_in_tree(path, tree) for tree in trees)


def bind_devices(mounts: "list[Mount]", devices: "list[Spec]") -> "list[Mount]":
    """Device nodes by bind, for user namespaces, where mknod(2) is not allowed."""
    if not any(mount.target == "/dev" and mount.type in ("tmpfs", PREPARED) for mount in mounts):
        return []
    paths = [(path, path) for path, _, _ in defaults.DEVICES]
    paths += [(device["path"], device["path"]) for device in devices]
    return [Mount("bind", source, target, ("bind",)) for source, target in dict(paths).items()]


# Keys of the configuration that would change what runs and that are not done here.
_UNSUPPORTED_LINUX = ("intelRdt", "mountLabel", "memoryPolicy", "netDevices", "timeOffsets")
_UNSUPPORTED_PROCESS = (
    "apparmorProfile",
    "selinuxLabel",
    "scheduler",
    "ioPriority",
    "execCPUAffinity",
)


def refuse_unsupported(spec: "Spec") -> None:
    """Raise ``Unsupported`` for what would otherwise be left out in silence."""
    for section, keys in (("linux", _UNSUPPORTED_LINUX), ("process", _UNSUPPORTED_PROCESS)):
        given = spec.get(section) or {}
        for key in keys:
            if given.get(key) and given[key] != "unconfined":
                raise Unsupported(f"{section}.{key} is not supported")
    domain = ((spec.get("linux") or {}).get("personality") or {}).get("domain", "LINUX")
    if domain != "LINUX":
        raise Unsupported(f"linux.personality {domain} is not supported")
    if spec.get("vm") or spec.get("windows") or spec.get("solaris"):
        raise Unsupported("only linux configurations are supported")
