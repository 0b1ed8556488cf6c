"""What a template works on: decoded JSON, with the difference between Go's structs and maps.

A missing key of a map prints ``<no value>``; a missing field of a struct is an error. JSON does not
tell them apart, so the keys under which the Engine API has maps are listed here (Docker Engine
API, "additionalProperties").
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAPS = frozenset(
    (
        "Annotations", "Attributes", "AuxiliaryAddresses", "Containers", "Data", "Details",
        "DriverOpts", "ExposedPorts", "Labels", "Networks", "Options", "PortBindings", "Ports",
        "Runtimes", "Services", "StorageOpt", "Sysctls", "Tmpfs", "Volumes", "IndexConfigs",
        "auths", "Endpoints", "Metadata",
    )
)  # fmt: skip
SPELLED = {  # Go's name of a field: its names in JSON
    "ID": ("Id", "id"), "DNS": ("Dns",), "DNSOptions": ("DnsOptions",),
    "DNSSearch": ("DnsSearch",), "APIVersion": ("ApiVersion",), "Status": ("status",),
    "From": ("from",), "Scope": ("scope",), "Time": ("time",), "TimeNano": ("timeNano",),
}  # fmt: skip
LISTS = frozenset(
    (
        "Binds", "CapAdd", "CapDrop", "Cmd", "Config", "DeviceCgroupRules", "DeviceRequests",
        "Devices", "Dns", "DnsOptions", "DnsSearch", "Entrypoint", "Env", "ExecIDs", "ExtraHosts",
        "GroupAdd", "Links", "MaskedPaths", "Mounts", "OnBuild", "ReadonlyPaths", "RepoDigests",
        "RepoTags", "SecurityOpt", "Shell", "Ulimits", "VolumesFrom", "Warnings",
    )
)  # fmt: skip


class NilList(list):  # type: ignore[type-arg]
    """A list that Go has no memory for: prints ``[]``, and ``null`` as JSON."""


OMITTED: "dict[str, Any]" = {  # fields that JSON leaves out when they have their zero value
    "Health": None, "Healthcheck": None, "SizeRw": None, "SizeRootFs": None, "UsageData": None,
    "OnBuild": None, "Shell": None, "StopSignal": "", "StopTimeout": None, "ConfigFrom": None,
    "Annotations": {}, "Tmpfs": {}, "Sysctls": {}, "StorageOpt": {}, "Init": None,
    "MacAddress": "", "Name": "", "Driver": "", "Mounts": [], "ArgsEscaped": False,
    "NetworkDisabled": False, "ExposedPorts": {}, "status": "", "from": "", "id": "",
    "ImageManifestDescriptor": None, "Descriptor": None, "Manifests": [], "Parent": "",
    "Comment": "", "Author": "", "Container": "", "Status": None, "Scope": "", "Variant": "",
    "DockerVersion": "", "CreatedAt": "",
}  # fmt: skip


class Struct(dict):  # type: ignore[type-arg]
    """An object with fixed fields; ``type_name`` is what errors call it."""

    type_name = ""
    strict = False  # whether a field that JSON leaves out is an error

    def field(self, name: str) -> "tuple[bool, Any]":
        """(whether there is such a field, its value)."""
        names = (name, *SPELLED.get(name, ()))
        for spelled in names:
            if spelled in self:
                value = self[spelled]
                if value is None and name in MAPS:
                    return True, {}
                return True, NilList() if value is None and name in LISTS else value
        for spelled in names:
            if spelled in OMITTED and not self.strict:
                return True, OMITTED[spelled]
        return False, None


class Row(Struct):
    """One line of a listing: texts by column, methods by name, and Go's name of its type.

    ``lazy`` fields are computed when the template asks for them.
    """

    def __init__(
        self,
        fields: "dict[str, Any]",
        type_name: str,
        methods: "dict[str, Callable[..., Any]] | None" = None,
    ) -> None:
        super().__init__(fields)
        self.type_name = type_name
        self.strict = True
        self.methods = methods or {}

    def plain(self) -> "dict[str, Any]":
        """The fields in the order of their names, as Go's JSON has them."""
        return {name: self[name] for name in sorted(self)}


def structured(value: "Any", key: str = "", inside: str = "") -> "Any":
    """``value`` with every dict that is no map made a ``Struct``; ``key`` is where it was found."""
    if isinstance(value, list):
        return [structured(item, "", inside) for item in value]
    if not isinstance(value, dict):
        return value
    is_map = key in MAPS or (key == "Config" and inside == "LogConfig")
    items = {name: structured(item, "" if is_map else name, key) for name, item in value.items()}
    return items if is_map else Struct(items)
