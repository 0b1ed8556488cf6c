"""Events around a container's life that its networks and volumes are told by.

A container that starts mounts its volumes; one that ends leaves its networks and unmounts them,
and Docker says so before it says ``die``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ketch.engine.containers.record import ContainerRecord, Endpoint
    from ketch.engine.events.events import Events


def mounted(events: Events, record: ContainerRecord) -> None:
    """``volume mount``, for each volume."""
    for point in record.mount_points:
        if point.type == "volume":
            events.publish(
                "volume",
                "mount",
                point.name,
                {
                    "container": record.id,
                    "destination": point.target,
                    "driver": point.driver or "local",
                    "propagation": point.propagation,
                    "read/write": "true" if point.writable else "false",
                },
            )


def left(events: Events, record: ContainerRecord) -> None:
    """``network disconnect`` and ``volume unmount``, as ``record`` was while it ran."""
    for endpoint in record.state.endpoints:
        left_network(events, record.id, endpoint)
    for point in record.mount_points:
        if point.type == "volume":
            events.publish(
                "volume",
                "unmount",
                point.name,
                {"container": record.id, "driver": point.driver or "local"},
            )


def left_network(events: Events, container_id: str, endpoint: Endpoint) -> None:
    """``network disconnect`` of one endpoint."""
    name = endpoint.network
    kind = {"host": "host", "none": "null"}.get(name, "bridge")
    attributes = {"container": container_id, "name": name, "type": kind}
    events.publish("network", "disconnect", endpoint.network_id, attributes)
