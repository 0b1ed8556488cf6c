"""``--sysctl``: only parameters that belong to the container's own namespaces (pure).

The list is Docker's (runc's is the same): namespaces(7) says which parameters there are per
network and IPC namespace.
"""

from __future__ import annotations

import re

from ketch.engine.containers.spec import ContainerSpec
from ketch.errors import InvalidParameter

_IPC = re.compile(
    r"(kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)|"
    r"fs\.mqueue\.\w+)\Z",
    re.ASCII,
)
_NET = re.compile(r"net(\.[\w:@-]+(/[\w:@-]+)*)+\Z", re.ASCII)  # a slash stands for a dot in a name
_VALUE = re.compile(r"[\x20-\x7e\t]{1,1024}\Z")


def check(spec: ContainerSpec) -> None:
    """Raise ``InvalidParameter`` for a parameter of the whole machine, or a value that is none."""
    for name, value in spec.sysctls.items():
        if not _IPC.match(name) and not _NET.match(name):
            raise InvalidParameter(f"sysctl '{name}' is not allowed: it is not namespaced")
        if name.startswith("net.") and spec.network_mode == "host":
            raise InvalidParameter(
                f"sysctl '{name}' is not allowed in the host's network namespace"
            )
        if not name.startswith("net.") and spec.ipc_mode == "host":
            raise InvalidParameter(f"sysctl '{name}' is not allowed in the host's IPC namespace")
        if not _VALUE.match(value):
            raise InvalidParameter(f"sysctl '{name}': {value!r} is no value of one line")
