"""The order of a launch: what ``execute_plan`` gets, made from START on the host's side."""

from ketch.errors import Unsupported
from ketch.runtime import handover, init_program
from ketch.runtime.plan import plan_launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Wire = dict[str, Any]


def order(
    start: "Wire",
    roots: "Sequence[int]",
    stdio: "Sequence[int]",
    gate: "Sequence[int]" = (),
    *,
    has_user: bool = False,
) -> "tuple[Wire, list[int]]":
    """The plan as builtin types, and its fds in the order of ``execute_plan``.

    To be called in the mount namespace where the sources of binds are; ``roots`` are the mounts of
    the root and of the images. Raises ``StartFailed``, ``InvalidParameter``, ``Unsupported``.
    """
    spec = start["spec"]
    if (spec.get("linux") or {}).get("seccomp") and not start.get("seccomp"):
        raise Unsupported("linux.seccomp must be compiled before a launch")
    plan = plan_launch(spec, has_user_namespace=has_user, warm=not has_user)
    plan.process = handover.process_order(start, spec.get("process") or {})
    plan.process["stdio_count"] = max(3, len(stdio))
    wire = plan.to_wire()
    opened = handover.open_binds(plan.bind_sources, roots[1:])
    extra = [*gate]
    if plan.process["has_init"]:
        extra.append(init_program.open_init())
    wire["extra_count"] = len(extra)
    return wire, [roots[0], *handover.stdio_fds(stdio), *extra, *opened]
