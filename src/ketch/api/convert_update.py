"""``Ketch`` of the update body, and what inspect says of changes that wait for the next start."""

from __future__ import annotations

from typing import Any

from ketch.api.convert_create import ports
from ketch.api.convert_mounts import mounts, point_json
from ketch.api.schema.host import Host, UpdateChanges
from ketch.engine.containers.record import Pending
from ketch.engine.containers.update_values import Changes


def changes(body: UpdateChanges) -> Changes:
    """Raises ``InvalidParameter`` naming what is malformed."""
    return Changes(
        ports_add=ports(body.PublishAdd),
        ports_remove=tuple(body.PublishRemove or ()),
        labels_add=body.LabelsAdd or {},
        labels_remove=tuple(body.LabelsRemove or ()),
        env_add=tuple(body.EnvAdd or ()),
        env_remove=tuple(body.EnvRemove or ()),
        mounts_add=mounts(Host(Mounts=body.MountsAdd)),
        mounts_remove=tuple(body.MountsRemove or ()),
    )


def pending_json(pending: Pending) -> dict[str, Any]:
    """``Ketch`` of inspect: what the container will have from its next start on."""
    return {
        "NextStart": {
            "Env": list(pending.env),
            "Mounts": [point_json(point) for point in pending.mount_points],
        }
    }
