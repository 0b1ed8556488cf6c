"""Starting containers: the way that must be quick.

No thread, no subprocess, no await that waits for anything but the launcher and the shim. State is
written once, when the process runs; a daemon that dies before that finds the shim at its socket and
adopts it (``recovery``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ketch.engine.container_place import place
from ketch.engine.model import AttachOptions, ContainerRecord, Endpoint, PortBinding, Status
from ketch.engine.process_facts import start_time
from ketch.engine.spec_oci import oci_config
from ketch.engine.spec_start import Launch, start_wire
from ketch.errors import Conflict, KetchError, NotModified, StartFailed

if TYPE_CHECKING:
    from ketch.engine.container_exit import Supervisor
    from ketch.engine.container_parts import Parts
    from ketch.engine.container_remove import Remover
    from ketch.runtime.remote import Shim, Started

_PREFIX = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: "
    "runc create failed: unable to start container process: error during container init: "
)
