"""Volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.api import responses
from ketch.api.convert_volume import volume_json
from ketch.api.filters import keys
from ketch.api.refusal import refuse_fields
from ketch.api.schema.volume import VolumeCreate

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call

_LIST_FILTERS = keys("dangling driver label name")
_PRUNE_FILTERS = keys("all label label!")


async def list_(call: Call) -> StreamResponse:
    """GET /volumes"""
    found = await call.engine.volumes.list(call.filters(_LIST_FILTERS))
    return responses.json({"Volumes": [volume_json(volume) for volume in found], "Warnings": None})


async def create(call: Call) -> StreamResponse:
    """POST /volumes/create"""
    body = await call.optional_json(VolumeCreate) or VolumeCreate()
    refuse_fields(body, "VolumeCreate", ("ClusterVolumeSpec",))
    volume = await call.engine.volumes.create(
        body.Name or "",
        driver=body.Driver or "local",
        options=body.DriverOpts or {},
        labels=body.Labels or {},
    )
    return responses.json(volume_json(volume), 201)


async def inspect(call: Call) -> StreamResponse:
    """GET /volumes/{name}"""
    return responses.json(volume_json(await call.engine.volumes.get(call.params["name"])))


async def remove(call: Call) -> StreamResponse:
    """DELETE /volumes/{name}"""
    await call.engine.volumes.remove(call.params["name"], force=call.flag("force"))
    return responses.empty()


async def prune(call: Call) -> StreamResponse:
    """POST /volumes/prune: only anonymous ones, unless asked for all (always before API 1.42)."""
    filters = call.filters(_PRUNE_FILTERS)
    if call.version < (1, 42):
        filters = {**filters, "all": ("true",)}
    report = await call.engine.volumes.prune(filters)
    return responses.json(
        {"VolumesDeleted": list(report.deleted), "SpaceReclaimed": report.reclaimed}
    )
