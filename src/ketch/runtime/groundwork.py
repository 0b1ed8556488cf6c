"""What the launcher prepares for a container that a fitter makes (``fitting``).

The cgroup, with its name and limits: they cannot be set from inside its cgroup namespace
(cgroups(7), ``nsdelegate``), and on v2 a process has to be born in it. And a socket of the host's
network namespace. It is done here because the launcher has all the memory for it already, while a
shim would have to keep what it writes to.
"""

from ketch.linux import netlink
from ketch.linux.descriptors import close_all
from ketch.runtime import defaults
from ketch.runtime.cgroups.group import Cgroup
from ketch.runtime.namespace_plan import is_fitted, plan_namespaces, stands_alone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Wire = dict[str, Any]


class Groundwork:
    """Of containers that no fitter makes it is empty.

    ``hold`` is the HOLD for the shim. With it goes ``unified``, the cgroup's v2 directory if there
    is one. For the fitter are ``route``, the socket if there is a link, and ``tasks``, the cgroup's
    files of v1 to join it by.
    """

    __slots__ = ("_born", "_cgroup", "hold", "route", "tasks", "unified")

    def __init__(self) -> None:
        self._born = ""
        self._cgroup: Cgroup | None = None
        self.hold: Wire | None = None
        self.unified: list[int] = []
        self.tasks: list[int] = []
        self.route: list[int] = []

    @classmethod
    def of_warm(cls, warm: "Wire") -> "Groundwork":
        """Of a WARM; raises KetchError or OSError, and then nothing is left."""
        made = cls()
        if stands_alone(warm["namespaces"]):
            made._make(warm["cgroup"], warm["namespaces"], warm.get("link"), {})
        return made

    @classmethod
    def of_start(cls, start: "Wire") -> "Groundwork":
        """Of a START without a warm member; as ``of_warm``."""
        made = cls()
        if is_fitted(start):
            linux = start["spec"]["linux"]
            limits = linux.get("resources") or {}
            made._make(start["cgroup"], linux["namespaces"], start["link"], limits)
        return made

    def _make(self, cgroup: "Wire", namespaces: "list[Wire]", link: object, limits: "Wire") -> None:
        plan = plan_namespaces(namespaces)  # what is wrong is said before anything is made
        self.hold = {"op": "hold", "cgroup": cgroup, "flags": plan.clone_flags}
        self._born = str(cgroup["name"])
        self._cgroup = Cgroup(cgroup["parent"], self._born)
        try:
            self._cgroup.create()
            self._cgroup.apply_devices(defaults.device_rules())
            take_place(self._cgroup, self._born, limits)
            if link:
                self.route.append(netlink.Route().detach())
            self.tasks, unified = self._cgroup.open_doors()
            self.unified = [unified] if unified >= 0 else []
        except BaseException:
            self.close()
            self._cgroup.destroy()
            raise

    def take_place(self, start: "Wire") -> None:
        """Name and limits of START; raises ``Unsupported``, ``InvalidParameter``, OSError."""
        if self._cgroup is not None:
            limits = (start["spec"].get("linux") or {}).get("resources") or {}
            take_place(self._cgroup, start["cgroup"]["name"], limits)

    def close(self) -> None:
        """Close our copies of the fds."""
        close_all([*self.unified, *self.tasks, *self.route])
        self.unified, self.tasks, self.route = [], [], []

    def give_up(self) -> None:
        """There will be no container: the shim removes the cgroup, by the name that it was born
        with, or has done so already, or has never come to be."""
        if self._cgroup is None:
            return
        try:
            self._cgroup.rename(self._born)
            self._cgroup.remove_empty()
        except OSError:
            return


def take_place(cgroup: Cgroup, name: str, resources: "Wire") -> None:
    """The container's name and limits for a cgroup that was made ahead, with the default rules.

    Raises ``Unsupported``, ``InvalidParameter``, OSError.
    """
    if name != cgroup.name:
        cgroup.rename(name)
    rules = resources.get("devices")
    if rules == defaults.device_rules():
        resources = {key: value for key, value in resources.items() if key != "devices"}
    if resources:
        cgroup.apply(resources)
