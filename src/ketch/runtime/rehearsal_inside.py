"""A rehearsal of fitters in the launcher itself, in namespaces that it gives up again.

For the reasons of ``rehearsal``: what a fitter runs for the first times it would specialize by
itself, in pages that it would have to copy for that. What a process cannot take back (credentials,
filters, execve) is left out, and so is what would be seen outside.
"""

import os

from ketch.errors import KetchError
from ketch.links import Link
from ketch.linux import fastjson, links, namespaces, netlink
from ketch.linux import mountapi as m
from ketch.linux.descriptors import close_all_but
from ketch.linux.loopback import loopback_up
from ketch.linux.script import Script
from ketch.runtime import defaults, gathering, handover, privileges, program, protocol, starting
from ketch.runtime.cgroups.hierarchy import detect
from ketch.runtime.execution import enter_root
from ketch.runtime.launch_order import order
from ketch.runtime.staging import Stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Body = dict[str, Any]

ROUNDS = 9
_BRIDGE = "rehearsal"
_ONCE = (
    namespaces.CLONE_NEWNET
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWCGROUP
)


def rehearse() -> None:
    """Go through what can be; on a machine where something is refused, up to there."""
    try:
        with _Elsewhere(_ONCE):
            links.make_bridge(_BRIDGE, ())
            start = _start()
            _one_round(0, start)
            gathering.gather(gathering.run_by(lambda: _one_round(1, start)))
            for number in range(2, 2 + ROUNDS):
                _one_round(number, start)
    except (OSError, KetchError):
        return


def _start() -> bytes:
    """A START, as much of it as is looked at here."""
    spec = defaults.default_spec()
    hosts = {
        "type": "bind",
        "source": os.devnull,
        "destination": "/etc/hosts",
        "options": ["rbind"],
    }
    spec["mounts"].append(hosts)
    spec["linux"]["sysctl"] = defaults.SYSCTLS
    return fastjson.dumps({"start": {"spec": spec, "user": "", "terminal": False}})


def _one_round(number: int, packet: bytes) -> None:
    link = Link(
        name=f"inside{number}",
        host_name=f"outside{number}",
        bridge=_BRIDGE,
        mac="02:42:0a:00:00:02",
        addresses=("10.0.0.2/32",),
    )
    with netlink.Route() as route:
        links.plug_here(link, route)
    loopback_up()
    start = protocol.decode(packet, []).body["start"]
    with _Elsewhere(namespaces.CLONE_NEWNS):
        root = m.new_filesystem("tmpfs", [("mode", "755")])
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        plan, fds = order(start, (root,), (null, null, null))
        enter_root(Stage(handover.cgroup_view(detect()), True), plan, fds)
        _as_the_program(plan["process"])


def _as_the_program(wanted: "Body") -> None:
    """The end of ``Fitting.become`` as far as it leaves everything as it is."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    env = program.environment(wanted["env"])
    try:
        program.find("nothing", env["PATH"])
    except KetchError:
        pass
    identity = starting.identity_of(root, wanted)
    script = Script()
    privileges.become(script, identity, wanted)
    program.execute(script, wanted["init_fd"], "/nothing", wanted["args"], env)
    script.image(0)
    Script().run()


class _Elsewhere:
    """Context manager: new namespaces; afterwards the old ones again, with the fds of before."""

    def __init__(self, flags: int) -> None:
        self._flags = flags

    def __enter__(self) -> None:
        self._before = _open_fds()
        files = [file for flag, file in namespaces.NAMESPACES.values() if flag & self._flags]
        self._home = [
            os.open(f"/proc/self/ns/{file}", os.O_RDONLY | os.O_CLOEXEC) for file in files
        ]
        self._root = os.open("/", os.O_PATH | os.O_CLOEXEC)
        try:
            namespaces.unshare(self._flags)
        except OSError:
            close_all_but(self._before, 0)
            raise

    def __exit__(self, *_: object) -> None:
        for fd in self._home:
            namespaces.setns(fd, 0)
        os.fchdir(self._root)
        os.chroot(".")  # where the launcher's root is another than its mount namespace's
        close_all_but(self._before, 0)


def _open_fds() -> "list[int]":
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
        except OSError:
            continue  # what the list was read from
        found.append(int(name))
    return found
