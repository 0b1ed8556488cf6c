"""The EXEC object of the launcher protocol, made from a container's and an exec's specification."""

from __future__ import annotations

from typing import Any

from ketch.engine.containers.exec_values import ExecRecord, ExecSpec
from ketch.engine.containers.limits import Ulimit
from ketch.engine.containers.record import ContainerRecord
from ketch.engine.spec import security as spec_security
from ketch.engine.spec.merge import process_env
from ketch.engine.spec.oci import capabilities
from ketch.engine.spec.resources import rlimits, ulimits
from ketch.linux.capabilities import NAMES
from ketch.runtime.messages import Exec, Runtime

_PATIENCE = 10.0  # seconds that a process has to end after its client is gone


def exec_wire(
    record: ExecRecord,
    container: ContainerRecord,
    *,
    hostname: str,
    seccomp: str,
    socket: str,
    runtime: Runtime | None = None,
    default_ulimits: tuple[Ulimit, ...] = (),
    env: tuple[str, ...] = (),
) -> Exec:
    """The whole object; ``seccomp`` is the container's filter, which privileged execs keep too.

    ``env`` is of the container, but not in its specification.
    """
    spec = record.spec
    found: Exec = {
        "id": record.id,
        "container": container.id,
        "bundle": container.bundle,
        "init_pid": container.state.pid,
        "process": oci_process(spec, container, hostname, default_ulimits, env),
        "user": spec.user or container.spec.user,
        "groups_add": list(container.spec.group_add),
        "seccomp": seccomp,
        "stdin": spec.attach_stdin,
        "terminal": spec.tty,
        "console": list(spec.console_size),
        "socket": socket,
    }
    if spec.die_with_client:
        found["die_with_client"] = _PATIENCE
    if runtime is not None:
        found["runtime"] = runtime
    return found


def oci_process(
    spec: ExecSpec,
    container: ContainerRecord,
    hostname: str,
    default_ulimits: tuple[Ulimit, ...] = (),
    env: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The OCI process object: the container's environment and limits, with the exec's on top."""
    everything = list(NAMES)
    given = (*env, *container.spec.env, *spec.env)
    return {
        "terminal": spec.tty,
        "user": {"uid": 0, "gid": 0},
        "args": list(spec.cmd),
        "env": process_env(given, hostname=hostname, tty=spec.tty),
        "cwd": spec.working_dir or container.spec.working_dir or "/",
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), everything)
        if spec.privileged
        else capabilities(container.spec),
        "oomScoreAdj": container.spec.oom_score_adj,
        "rlimits": rlimits(ulimits(container.spec.resources.ulimits, default_ulimits)),
        "noNewPrivileges": spec_security.flag(container.spec, "no-new-privileges")
        and not spec.privileged,
    }
