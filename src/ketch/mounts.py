"""The ``Mount`` and ``Rootfs`` values: what should be mounted, as data.

Snapshotters and volume drivers emit these; only ``ketch.runtime`` executes them. They cross the
launcher's socket as plain dictionaries. This module is on the launcher's import path, so it
imports nothing.
"""

SUBPATH = "x-ketch.subpath="
"""A word of a bind's options: only this path, which must not lead out of the source, is bound."""
IMAGE = "image:"
"""The source of a bind that is the n-th image mounted for the container: ``image:0``."""

SHM = "shm:"
"""The source of a bind that is /dev/shm of the process with this number: ``shm:1234``."""


class Mount:
    """One mount: the arguments of mount(2) as data.

    ``type`` is a filesystem name (``erofs``, ``overlay``, ``tmpfs``, ``proc``…) or ``bind``;
    ``source`` an absolute host path or a label; ``target`` an absolute path inside the
    container's root (empty for the layers of a ``Rootfs``); ``options`` are fstab words
    (``ro``, ``nosuid``, ``rbind``, ``rslave``, ``size=64m``).
    """

    __slots__ = ("options", "source", "target", "type")

    def __init__(
        self, type: str, source: str, target: str = "", options: "tuple[str, ...]" = ()
    ) -> None:
        self.type = type
        self.source = source
        self.target = target
        self.options = tuple(options)

    def to_wire(self) -> "dict[str, object]":
        """The dictionary that crosses a socket."""
        return {
            "type": self.type,
            "source": self.source,
            "target": self.target,
            "options": list(self.options),
        }

    @classmethod
    def from_wire(cls, wire: "dict[str, object]") -> "Mount":
        """Rebuild from ``to_wire``; raises KeyError or TypeError when the shape is wrong."""
        options = wire["options"]
        if not isinstance(options, list):
            raise TypeError("options must be a list")
        return cls(
            str(wire["type"]),
            str(wire["source"]),
            str(wire["target"]),
            tuple(str(option) for option in options),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mount) and self.to_wire() == other.to_wire()

    def __hash__(self) -> int:
        return hash((self.type, self.source, self.target, self.options))

    def __repr__(self) -> str:
        return f"Mount({self.type!r}, {self.source!r}, {self.target!r}, {self.options!r})"


class Rootfs:
    """A container's root: read-only lower layers and, if ``upper`` is set, a writable one.

    ``lowers`` holds one ``Mount`` per layer, topmost first: type ``erofs`` with the image file as
    source, or ``bind`` with a directory. The executor mounts each erofs source once and shares
    it, then puts an overlay over them (Documentation/filesystems/overlayfs.rst). ``upper`` and
    ``work`` are directories on one filesystem; both empty for a read-only view. With ``volatile``
    nothing that is written is ever synced, where the kernel can do that: ``upper`` is worth nothing
    after a crash, and it can be mounted only once.
    """

    __slots__ = ("lowers", "upper", "volatile", "work")

    def __init__(
        self,
        lowers: "tuple[Mount, ...]",
        upper: str = "",
        work: str = "",
        *,
        volatile: bool = False,
    ) -> None:
        self.lowers = tuple(lowers)
        self.upper = upper
        self.work = work
        self.volatile = volatile

    def to_wire(self) -> "dict[str, object]":
        """The dictionary that crosses a socket."""
        return {
            "lowers": [lower.to_wire() for lower in self.lowers],
            "upper": self.upper,
            "work": self.work,
            "volatile": self.volatile,
        }

    @classmethod
    def from_wire(cls, wire: "dict[str, object]") -> "Rootfs":
        """Rebuild from ``to_wire``; raises KeyError or TypeError when the shape is wrong."""
        lowers = wire["lowers"]
        if not isinstance(lowers, list):
            raise TypeError("lowers must be a list")
        return cls(
            tuple(Mount.from_wire(lower) for lower in lowers),
            str(wire["upper"]),
            str(wire["work"]),
            volatile=bool(wire.get("volatile")),
        )
