"""A step that failed, in words by which clients open containers where it stood.

``grpc-status-details-bin`` holds, besides the place in the Dockerfile, what ran (``pb.Op``) and
names of the states of its mounts: as they were before (``inputIDs``) and as they are now
(``mountIDs``). All are JSON as protobuf writes it. Source: BuildKit's solver/errdefs. A step that
is no RUN is told as one that would have stood there: of others clients open nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ketch.build.executor import Tree
from ketch.buildkit.gateway.states import State

if TYPE_CHECKING:
    from ketch.build.executor import RunStep, StepMount
    from ketch.build.failures import StepFailed
    from ketch.buildkit.gateway.states import States
    from ketch.engine.builder.steps.container import Containers

_SOLVE = "github.com/moby/buildkit/errdefs.Solve+json"
_VERTEX = "github.com/moby/buildkit/errdefs.Vertex+json"
_EXIT = "github.com/moby/buildkit/gatewayapi.ExitMessage+json"
_NETWORKS = {"host": "HOST", "none": "NONE"}


def details(
    error: StepFailed, states: States, containers: Containers, result: str
) -> list[tuple[str, bytes]]:
    """Type and document of each detail; the states of the step get names. ``result`` is the digest
    of the vertex that stands for all of the build, this step's one input: debuggers want one
    (``buildx dap`` 0.29 crashes without)."""
    assert error.run is not None
    step = error.run.step
    below = Tree("layers", step.layers)
    inputs = [states.add(State(containers, below, step=step))]
    now = [states.add(State(containers, below, kept=error.run.kept, step=step))]
    shown = [mount for mount in step.mounts if mount.target]
    for mount in shown:
        name = _state(mount, states, containers)
        inputs.append(name)
        now.append(name)
    op = {"inputs": [{"digest": result}], "exec": _exec(step, shown)}
    solve = {"inputIDs": inputs, "mountIDs": now, "op": op}
    found = [
        (_SOLVE, json.dumps(solve).encode()),
        (_VERTEX, json.dumps({"digest": error.vertex}).encode()),
    ]
    if error.code:
        found.append((_EXIT, json.dumps({"Code": error.code}).encode()))
    return found


def _state(mount: StepMount, states: States, containers: Containers) -> str:
    """What a mount shows, or which cache it is; "" for others."""
    if mount.type not in ("bind", "cache"):
        return ""
    return states.add(State(containers, mount.tree or Tree("layers"), mount=mount))


def _exec(step: RunStep, shown: list[StepMount]) -> dict[str, Any]:
    agents = [mount.target for mount in shown if mount.type == "ssh" and not mount.number]
    sockets = [f"SSH_AUTH_SOCK={target}" for target in agents]
    meta: dict[str, Any] = {
        "args": list(step.argv),
        "env": [*step.env, *sockets],
        "cwd": step.working_dir,
        "user": step.user,
        "hostname": step.hostname,
        "extraHosts": [_host(line) for line in step.extra_hosts],
    }
    variables = [
        {"ID": mount.id, "name": mount.env, "optional": not mount.required}
        for mount in step.mounts
        if mount.env
    ]
    found: dict[str, Any] = {
        "meta": {name: value for name, value in meta.items() if value},
        "mounts": [{"dest": "/"}, *(_mount(n, mount) for n, mount in enumerate(shown, 1))],
    }
    if step.network in _NETWORKS:
        found["network"] = _NETWORKS[step.network]
    if step.insecure:
        found["security"] = "INSECURE"
    if variables:
        found["secretenv"] = variables
    return found


def _host(line: str) -> dict[str, str]:
    name, _, address = line.partition(":")
    return {"Host": name, "IP": address}


def _mount(number: int, mount: StepMount) -> dict[str, Any]:
    kind = mount.type.upper()
    has_input = mount.tree is not None
    found: dict[str, Any] = {"input": str(number if has_input else -1), "dest": mount.target}
    if kind != "SECRET" and kind != "SSH":
        found |= {"output": "-1", "readonly": not mount.writable}
    if kind != "BIND":
        found["mountType"] = kind
    elif mount.source != "/":
        found["selector"] = mount.source
    lent = {
        "ID": mount.id,
        "uid": mount.uid,
        "gid": mount.gid,
        "mode": mount.mode,
        "optional": not mount.required,
    }
    if kind == "CACHE":
        found["cacheOpt"] = {"ID": mount.id, "sharing": mount.sharing.upper()}
    elif kind == "TMPFS":
        found["TmpfsOpt"] = {"size": str(mount.size)}
    elif kind in ("SECRET", "SSH"):
        found["secretOpt" if kind == "SECRET" else "SSHOpt"] = lent
    return found
